/**
 * Servers and disks that do what none should, beside those of unreliable_server_test.ts: each pull ends,
 * whole or with a reason.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { pull } from "../../../src/checkpoint/hub/pull.ts";
import {
  atFirst,
  blobName,
  commit,
  type Hub,
  isPart,
  modelId,
  noise,
  partOf,
  type Seen,
  tinyFiles,
  withHub,
} from "./hub_server.ts";
import { assertSnapshot, refuses, repo } from "./pulled.ts";

/** Gives up soon. */
const hurried = { idleMs: 300, tries: 2, firstWaitMs: 1, longestWaitMs: 10 };
const isListing = ({ path }: Seen) => path.startsWith("/api");

/** Nothing that came has become a file. */
function assertNothing(hub: Hub): void {
  const blobs = join(repo(hub), "blobs");
  const good = new Set([...hub.files.values()].map(blobName));
  for (const name of existsSync(blobs) ? readdirSync(blobs) : []) {
    assert.ok(good.has(name) || name.includes(".incomplete"), name);
    if (good.has(name)) assert.equal(blobName(readFileSync(join(blobs, name))), name);
  }
}

test("parts that come compressed, or only say so, were not asked for and are not taken", async () => {
  for (const isTrue of [true, false]) {
    await withHub(tinyFiles(), async (hub) => {
      const compressed = (times: number) =>
        atFirst(times, isPart, (response, seen) => {
          assert.equal(seen.headers["accept-encoding"], "identity");
          const { body, range } = partOf(hub, seen);
          response.writeHead(206, { "content-encoding": "gzip", "content-range": range });
          response.end(isTrue ? gzipSync(body) : body);
        });
      hub.misbehave = compressed(Infinity);
      await refuses(pull(modelId, hub.settings()), /sends it in "gzip", which was not asked for/);
      assertNothing(hub);
      hub.misbehave = compressed(3);
      await pull(modelId, hub.settings());
      assertSnapshot(hub);
    });
  }
});

test("a server whose ETags are weak, come and go, or differ from part to part sends the file or nothing", async () => {
  let i = 0;
  const etags: ((hub: Hub) => string | null)[] = [
    () => 'W/"a"',
    () => i++ % 2 ? null : '"a"',
    () => `W/"${i++}"`,
  ];
  for (const etagOf of etags) {
    await withHub(tinyFiles(), async (hub) => {
      hub.misbehave = (seen, response) => {
        if (!isPart(seen)) return false;
        const { body, range } = partOf(hub, seen), etag = etagOf(hub);
        response.writeHead(206, { "content-range": range, ...(etag === null ? {} : { etag }) });
        response.end(body);
        return true;
      };
      await pull(modelId, hub.settings());
      assertSnapshot(hub);
    });
  }
  // Strong ones that differ each time are of files that change all the time.
  await withHub(tinyFiles(), async (hub) => {
    hub.misbehave = (seen, response) => {
      if (!isPart(seen)) return false;
      const { body, range } = partOf(hub, seen);
      response.writeHead(206, { "content-range": range, etag: `"${i++}"` });
      response.end(body);
      return true;
    };
    await refuses(pull(modelId, hub.settings()), /3 times it came as another file|ETag/);
    assertNothing(hub);
  });
});

test("bytes without end are cut off where the file should end, and a listing where no listing goes on", async () => {
  const endless = async (response: ServerResponse) => {
    const piece = new Uint8Array(65536).fill(0x20);
    let wake = () => {};
    response.on("drain", () => wake()).on("close", () => wake());
    while (!response.destroyed) {
      if (!response.write(piece)) await new Promise<void>((resolve) => wake = resolve);
    }
  };
  await withHub(tinyFiles(), async (hub) => {
    hub.misbehave = (seen, response) => {
      if (!isPart(seen)) return false;
      response.writeHead(206, { "content-range": partOf(hub, seen).range });
      return endless(response).then(() => true);
    };
    await refuses(pull(modelId, hub.settings()), /another file|sends more than/);
    assertNothing(hub);
    hub.misbehave = (seen, response) => isListing(seen) ? endless(response).then(() => true) : false;
    await refuses(pull(modelId, hub.settings()), /more than \d+ bytes/);
  });
});

test("a server that never ends its headers, or has a megabyte of them, is given up", async () => {
  await withHub(tinyFiles(), async (hub) => {
    for (const applies of [isListing, isPart, ({ method }: Seen) => method === "HEAD"]) {
      hub.misbehave = (seen, response) => {
        if (!applies(seen)) return false;
        const { socket } = response;
        socket!.write("HTTP/1.1 200 OK\r\n");
        const timer = setInterval(() => socket!.write("x: y\r\n"), 20);
        socket!.on("close", () => clearInterval(timer)).on("error", () => {});
        return true;
      };
      await refuses(pull(modelId, hub.settings({ patience: hurried })), /sent nothing for 0\.3 s/);
    }
    hub.misbehave = (seen, response) => {
      if (!isListing(seen)) return false;
      response.socket!.end(`HTTP/1.1 200 OK\r\nx: ${"y".repeat(1 << 20)}\r\n\r\n{}`);
      return true;
    };
    await refuses(
      pull(modelId, hub.settings({ patience: hurried })),
      /failed|does not answer as a hub|sent nothing/,
    );
    hub.misbehave = () => false;
    await pull(modelId, hub.settings());
    assertSnapshot(hub);
  });
});

test("a file whose bytes are wrong each time is given up, and nothing of it is kept", async () => {
  await withHub(tinyFiles(), async (hub) => {
    const wrong = (times: number) =>
      atFirst(times, (seen) => isPart(seen) && seen.path.startsWith("/tokenizer"), (response, seen) => {
        const { body, range } = partOf(hub, seen);
        response.writeHead(206, { "content-range": range });
        response.end(noise(body.length, 99));
      });
    hub.misbehave = wrong(Infinity);
    await refuses(
      pull(modelId, hub.settings()),
      /tokenizer\.json.*3 times it came as another file; its SHA-256/,
    );
    assertNothing(hub);
    assert.ok(!existsSync(join(repo(hub), "snapshots", commit, "tokenizer.json")));
    hub.misbehave = wrong(2);
    await pull(modelId, hub.settings());
    assertSnapshot(hub);
  });
});

test("names with a NUL, with dots at their end or without end are refused", async () => {
  for (
    const name of [
      "evil\0.json",
      "evil.json.",
      "evil.",
      "a./evil.json",
      "a".repeat(256),
      "a/".repeat(600) + "b",
    ]
  ) {
    await withHub({ ...tinyFiles(), [name]: noise(10) }, async (hub) => {
      const patterns = { include: ["*"], exclude: [] };
      await refuses(pull(modelId, hub.settings(), { patterns }), /is no name for a file/);
      assert.ok(!existsSync(repo(hub)));
    });
  }
});

test("a disk that is full is named, and what came before is whole", async () => {
  if (!existsSync("/dev/full")) return; // a file that no byte fits in
  await withHub(tinyFiles(), async (hub) => {
    const name = blobName(hub.files.get("model-2.safetensors")!);
    const partial = join(repo(hub), "blobs", `${name}.hadal.incomplete`);
    mkdirSync(join(repo(hub), "blobs"), { recursive: true });
    symlinkSync("/dev/full", partial);
    await assert.rejects(pull(modelId, hub.settings()), /Cannot write .*(ENOSPC|[Nn]o space left)/);
    assertNothing({
      ...hub,
      files: new Map([...hub.files].filter(([path]) => path !== "model-2.safetensors")),
    });
    assert.deepEqual(readdirSync(join(hub.cache, ".locks", "models--deep-see--tiny")), []);
  });
});
