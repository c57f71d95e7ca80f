/**
 * A hub on loopback: it lists models and sends files as huggingface.co does, large ones from a second
 * server on another port, and can be told to fail in every way that tests need.
 * @module
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HubSettings } from "../../../src/checkpoint/hub/endpoint.ts";

/** Name of the only model. */
export const modelId = "deep-see/tiny";
/** Its commit. */
export const commit = "0123456789abcdef0123456789abcdef01234567";

/** A request that a server got. */
export interface Seen {
  readonly host: "hub" | "store";
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

/** Answers a request in place of the server; returns false to let it answer itself. */
export type Misbehaviour = (request: Seen, response: ServerResponse) => boolean | Promise<boolean>;

/** Both servers. */
export interface Hub {
  readonly url: string;
  readonly storeUrl: string;
  readonly seen: Seen[];
  /** Content by path; may be changed at any time. */
  readonly files: Map<string, Uint8Array>;
  misbehave: Misbehaviour;
  /** Milliseconds that the store waits between pieces of 64 KiB. */
  pieceMs: number;
  /** A cache folder of its own, removed at the end. */
  readonly cache: string;
  settings(more?: Partial<HubSettings>): HubSettings;
}

/** Files above this lie in the store under their SHA-256. */
const smallBytes = 1000;

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function blobName(bytes: Uint8Array): string {
  if (bytes.length > smallBytes) return sha256(bytes);
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

/** Bytes that look random, the same for the same seed. */
export function noise(sizeBytes: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(sizeBytes / 4));
  let state = seed;
  for (let i = 0; i < words.length; i++) words[i] = state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return new Uint8Array(words.buffer, 0, sizeBytes);
}

/** The files of a small model with weights of some MB in two shards. */
export function tinyFiles(shardBytes = 3_000_000): Record<string, Uint8Array> {
  const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  return {
    "config.json": text({ model_type: "deepseek_v3" }),
    "tokenizer.json": noise(5000, 7),
    "README.md": text("not needed"),
    "model.safetensors.index.json": text({
      weight_map: { a: "model-1.safetensors", b: "model-2.safetensors", c: "model-1.safetensors" },
    }),
    "model-1.safetensors": noise(shardBytes, 2),
    "model-2.safetensors": noise(shardBytes / 2 + 1, 3),
    "consolidated.safetensors": noise(2000, 4),
  };
}

/** Runs with a hub that has these files. */
export async function withHub(
  files: Record<string, Uint8Array>,
  use: (hub: Hub) => Promise<void>,
): Promise<void> {
  const servers: Server[] = [];
  const cache = mkdtempSync(join(tmpdir(), "hadal-hub-"));
  const start = async (host: Seen["host"]): Promise<string> => {
    const server = createServer((request, response) => {
      response.on("error", () => {});
      const seen = { host, method: request.method!, path: request.url!, headers: request.headers };
      hub.seen.push(seen);
      Promise.resolve(hub.misbehave(seen, response)).then(async (isDone) => {
        if (!isDone) await (host === "hub" ? answerHub : answerStore)(hub, seen, response);
      }).catch(() => response.destroy());
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const hub: Hub = {
    url: "",
    storeUrl: "",
    seen: [],
    files: new Map(Object.entries(files)),
    misbehave: () => false,
    pieceMs: 0,
    cache,
    settings: (more) => ({
      endpoint: hub.url,
      token: null,
      cache,
      offline: false,
      patience: { idleMs: 20_000, tries: 4, firstWaitMs: 5, longestWaitMs: 2000 },
      ...more,
    }),
  };
  Object.assign(hub, { url: await start("hub"), storeUrl: await start("store") });
  try {
    await use(hub);
  } finally {
    for (const server of servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
    rmSync(cache, { recursive: true, force: true });
  }
}

function answerHub(hub: Hub, { path, method, headers }: Seen, response: ServerResponse): Promise<void> {
  const file = new RegExp(`^/${modelId}/resolve/${commit}/(.*)$`).exec(path)?.[1];
  if (
    path === `/api/models/${modelId}/revision/main` || path === `/api/models/${modelId}/revision/${commit}`
  ) {
    const siblings = [...hub.files.keys()].map((rfilename) => ({ rfilename }));
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ id: modelId, sha: commit, siblings }));
    return Promise.resolve();
  }
  const content = file === undefined ? undefined : hub.files.get(decodeURIComponent(file));
  if (content === undefined) {
    response.writeHead(404, { "x-error-code": "EntryNotFound" });
    response.end();
    return Promise.resolve();
  }
  const name = blobName(content);
  if (content.length <= smallBytes) {
    return send(
      hub,
      content,
      { "etag": `"${name}"`, "x-repo-commit": commit },
      method,
      headers.range,
      response,
    );
  }
  response.writeHead(302, {
    location: `${hub.storeUrl}/${file}?signed`,
    "x-linked-etag": `"${name}"`,
    "x-linked-size": content.length,
    "x-repo-commit": commit,
  });
  response.end();
  return Promise.resolve();
}

function answerStore(hub: Hub, { path, method, headers }: Seen, response: ServerResponse): Promise<void> {
  const content = hub.files.get(decodeURIComponent(/^\/(.*)\?signed$/.exec(path)?.[1] ?? ""))!;
  const etag = `"store-${blobName(content).slice(0, 8)}"`;
  const condition = headers["if-range"];
  const range = condition === undefined || condition === etag ? headers.range : undefined;
  return send(hub, content, { etag }, method, range, response);
}

async function send(
  hub: Hub,
  content: Uint8Array,
  headers: Record<string, string>,
  method: string,
  range: string | undefined,
  response: ServerResponse,
): Promise<void> {
  const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
  if (begin !== undefined && Number(end) >= content.length) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` });
    return void response.end();
  }
  const body = begin === undefined ? content : content.subarray(Number(begin), Number(end) + 1);
  response.writeHead(begin === undefined ? 200 : 206, {
    ...headers,
    "content-length": body.length,
    ...(begin === undefined ? {} : { "content-range": `bytes ${begin}-${end}/${content.length}` }),
  });
  if (method === "HEAD") return void response.end();
  const pieceBytes = 65536;
  for (let at = 0; at < body.length && !response.destroyed; at += pieceBytes) {
    response.write(body.subarray(at, at + pieceBytes));
    if (hub.pieceMs > 0) await new Promise((resolve) => setTimeout(resolve, hub.pieceMs));
  }
  response.end();
}

/** A misbehaviour of the first `times` requests that `applies` to. */
export function atFirst(
  times: number,
  applies: (seen: Seen) => boolean,
  act: (response: ServerResponse, seen: Seen) => void,
): Misbehaviour {
  let left = times;
  return (seen, response) => {
    if (left === 0 || !applies(seen)) return false;
    left--;
    act(response, seen);
    return true;
  };
}

/** A GET of part of a file from the store. */
export function isPart({ host, method }: Seen): boolean {
  return host === "store" && method === "GET";
}

/** What such a request asks for: all, where it names no range. */
export function partOf(hub: Hub, { path, headers }: Seen): {
  readonly content: Uint8Array;
  readonly begin: number;
  /** Of its last byte. */
  readonly end: number;
  readonly body: Uint8Array;
  /** As Content-Range says it. */
  readonly range: string;
} {
  const content = hub.files.get(/^\/(.*)\?/.exec(path)![1])!;
  const asked = headers.range ?? `bytes=0-${content.length - 1}`;
  const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(asked)!.map(Number);
  return {
    content,
    begin,
    end,
    body: content.subarray(begin, end + 1),
    range: `bytes ${begin}-${end}/${content.length}`,
  };
}
