/**
 * Listens for HTTP. It stands on node:http, which Deno, Bun and Node all have, because only there do
 * clients that send nothing, or send slowly, run into a timeout in every runtime.
 * @module
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { RequestError } from "../errors.ts";
import { errorResponse } from "./errors.ts";
import type { Handler } from "./handler.ts";
import type { OpenSession, SocketSession } from "./ws_session.ts";
import { acceptKey, carry } from "./ws_upgrade.ts";

/** Options of {@linkcode serve}. */
export interface ServeOptions {
  /** Address to listen on: 127.0.0.1, this machine only, by default. */
  readonly host?: string;
  /** 8080 by default; 0 takes any free one. */
  readonly port?: number;
  /** Ends the server: no new connections, running requests are finished. */
  readonly signal?: AbortSignal;
  /** Told once when the server listens. */
  readonly onListen?: (at: { readonly host: string; readonly port: number; readonly url: string }) => void;
}

/** WebSockets open at a time. */
const mostSockets = 256;
/** A client that takes nothing for so long is given up. */
const stalledMs = 30_000;

/**
 * Serves until `signal` aborts and the requests that were running have been answered.
 * @throws {Error} in one sentence, if it cannot listen
 */
export async function serve(handler: Handler, options: ServeOptions = {}): Promise<void> {
  const { host = "127.0.0.1", port = 8080, signal, onListen } = options;
  const { createServer } = await import("node:http");
  const server = createServer({ maxHeaderSize: 16384, headersTimeout: 10_000, requestTimeout: 60_000 });
  server.on("request", (incoming, outgoing) => {
    answer(handler, server, incoming, outgoing).catch(() => outgoing.destroy()).finally(() => {
      if (signal?.aborted) server.closeIdleConnections();
    });
  });
  const sessions = new Set<SocketSession>();
  server.on("upgrade", (incoming: IncomingMessage, socket: Duplex, head: Uint8Array) => {
    upgrade(handler, server, sessions, incoming, socket, head).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      const problems: Record<string, string> = {
        EADDRINUSE: "the port is in use, another one is needed",
        EACCES: "the port is not allowed, one from 1024 on is needed",
        EADDRNOTAVAIL: "this machine has no such address",
        ENOTFOUND: "there is no such host",
      };
      reject(new Error(`Cannot listen on ${host}:${port}: ${problems[error.code ?? ""] ?? error.message}`));
    };
    server.once("error", fail);
    server.listen(port, host, () => {
      server.off("error", fail);
      resolve();
    });
  });
  const bound = (server.address() as AddressInfo).port;
  onListen?.({ host, port: bound, url: `http://${host.includes(":") ? `[${host}]` : host}:${bound}` });
  await new Promise<void>((resolve) => {
    const drain = () => {
      server.close(() => resolve());
      server.closeIdleConnections();
      for (const session of sessions) session.finish();
    };
    if (signal?.aborted) drain();
    else signal?.addEventListener("abort", drain, { once: true });
  });
}

/** One request through the handler; its signal aborts when the client goes away before the end. */
async function answer(
  handler: Handler,
  server: Server,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  outgoing.on("close", () => outgoing.writableFinished || gone.abort());
  const request = requestOf(incoming, gone.signal);
  const response = request === null
    ? errorResponse(problemOf(incoming))
    : await handler(request, { address: server.address() });
  outgoing.writeHead(response.status, [...response.headers].flat());
  const reader = response.body?.getReader(); // a loop over the stream itself takes Deno several times as long
  const leave = () => void reader?.cancel().catch(() => {});
  gone.signal.addEventListener("abort", leave);
  if (gone.signal.aborted) leave();
  for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
    if (!outgoing.write(read.value)) await drained(outgoing, gone.signal);
  }
  outgoing.end();
  incoming.resume(); // of a body that nobody read; Deno would leave it, and the connection's next request behind it
}

/** One handshake through the handler, which opens the socket or says why not. */
async function upgrade(
  handler: Handler,
  server: Server,
  sessions: Set<SocketSession>,
  incoming: IncomingMessage,
  socket: Duplex,
  head: Uint8Array,
): Promise<void> {
  let wanted: { open: OpenSession; protocol: string | null } | null = null;
  const accept = acceptKey(incoming), isFull = sessions.size >= mostSockets;
  const request = accept === null || isFull ? null : requestOf(incoming, new AbortController().signal);
  const response = request === null ? null : await handler(request, {
    address: server.address(),
    openSocket(open: OpenSession, protocol: string | null) {
      wanted = { open, protocol };
      return new Response(null);
    },
  });
  const { open, protocol } = wanted ?? { open: null, protocol: null };
  if (open === null || accept === null) {
    const status = response?.status ?? (isFull ? 503 : 400), body = await response?.text() ?? "";
    const headers = [...response?.headers ?? []].map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const length = `content-length: ${Buffer.byteLength(body)}\r\n`;
    socket.end(`HTTP/1.1 ${status} \r\nconnection: close\r\n${length}${headers}\r\n${body}`);
    return;
  }
  const session = carry(socket, head, accept, protocol, open);
  sessions.add(session);
  socket.on("close", () => sessions.delete(session));
}

/** Methods that a Request cannot have (https://fetch.spec.whatwg.org/#forbidden-method); not all runtimes mind. */
const forbidden = /^(TRACE|TRACK|CONNECT)$/i;

/** What is wrong with what is no request. */
function problemOf({ method }: IncomingMessage): RequestError {
  if (!forbidden.test(method ?? "")) {
    return new RequestError("Cannot read the request: its target is no path, or a header is none");
  }
  return new RequestError("Cannot use this method here: GET, HEAD and POST work", {
    status: 405,
    code: "method_not_allowed",
    detail: { allow: "GET, HEAD, POST" },
  });
}

/** @returns null for what is no request to this server: a target that is no path, a header that is none */
function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request | null {
  const { url = "", method = "GET", rawHeaders } = incoming;
  if (!url.startsWith("/") || forbidden.test(method)) return null;
  try {
    const headers: [string, string][] = [];
    for (let i = 0; i < rawHeaders.length; i += 2) headers.push([rawHeaders[i], rawHeaders[i + 1]]);
    const body = method === "GET" || method === "HEAD" ? null : bodyOf(incoming);
    // The target alone decides the path: a Host header has no part in it.
    return new Request(
      `http://localhost${url}`,
      { method, headers, body, signal, duplex: "half" } as RequestInit,
    );
  } catch {
    return null;
  }
}

/** Pieces of a body that may wait for whoever reads it; then the client waits. */
const mostPieces = 4;

/**
 * A body as it arrives. ReadableStream.from would do, but its loop takes a short body as long as all else until
 * the handler is asked. What nobody begins to read is left to the server, which reads past it.
 */
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  let isRead = false, isOver = false;
  const listen = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    const end = (settle: () => void) => {
      if (!isOver) settle();
      isOver = true;
    };
    incoming.on("end", () => end(() => controller.close()));
    incoming.on("error", (error) => end(() => controller.error(error)));
    incoming.on("close", () => end(() => controller.error(new Error("the client is gone"))));
    incoming.on("data", (bytes: Uint8Array) => {
      if (isOver) return;
      controller.enqueue(bytes);
      if (controller.desiredSize! <= -mostPieces) incoming.pause();
    });
  };
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      if (isRead) return void incoming.resume();
      isRead = true;
      if (incoming.destroyed) controller.error(new Error("the client is gone"));
      else listen(controller);
    },
    cancel() {
      isOver = true;
      incoming.destroy();
    },
  }, { highWaterMark: 0 });
}

/** Resolves when the client has taken what was written, or is gone. */
function drained(outgoing: ServerResponse, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const stalled = setTimeout(() => outgoing.destroy(), stalledMs);
    const done = () => {
      clearTimeout(stalled);
      outgoing.off("drain", done);
      gone.removeEventListener("abort", done);
      resolve();
    };
    outgoing.on("drain", done);
    gone.addEventListener("abort", done);
  });
}
