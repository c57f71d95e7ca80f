/**
 * GET /ws: who may open a WebSocket, and how each server opens it. `serve` and Bun.serve hand over a
 * function with the request; Deno.serve leaves it to the runtime.
 * @module
 */
import { RequestError } from "../errors.ts";
import { upgradeWebSocket } from "../runtime.ts";
import type { Origins } from "./origins.ts";
import type { OpenSession, SocketSession } from "./ws_session.ts";

/** What a server passes beside a request, so far as sockets go. */
export interface SocketServer {
  /** `serve`'s: remembers the session and answers the handshake itself. */
  openSocket?(open: OpenSession, protocol: string | null): Response;
  /** Bun's: false where the request is no handshake or the server has no sockets. */
  upgrade?(request: Request, options: { data: SocketData; headers?: Record<string, string> }): boolean;
}

/** What Bun keeps with a socket. */
export interface SocketData {
  readonly open: OpenSession;
  session?: SocketSession;
}

/** The part of Bun's ServerWebSocket that is used. */
export interface BunSocket {
  /** What the upgrade left with it. */
  readonly data: unknown;
  /** Sends one message. */
  send(text: string): number;
  /** Bytes that the client has not taken yet. */
  getBufferedAmount(): number;
  /** Ends the connection. */
  close(code: number, reason: string): void;
}

/** Fits the `websocket` of Bun.serve. */
export interface SocketHandlers {
  /** Of a message, in bytes. */
  readonly maxPayloadLength: number;
  /** Seconds without a word after which a connection ends. */
  readonly idleTimeout: number;
  /** Whether pings keep it alive until then. */
  readonly sendPings: boolean;
  /** A client has connected. */
  open(socket: BunSocket): void;
  /** A client has sent a request, or a word to cancel one. */
  message(socket: BunSocket, message: string | Uint8Array): void;
  /** A client has gone. */
  close(socket: BunSocket): void;
}

/** @param maxBytes of the longest message */
export function socketHandlers(maxBytes: number): SocketHandlers {
  const dataOf = (socket: BunSocket) => socket.data as SocketData;
  return {
    maxPayloadLength: maxBytes,
    idleTimeout: 60,
    sendPings: true,
    open(socket) {
      dataOf(socket).session = dataOf(socket).open({
        send: (text) => void socket.send(text),
        bufferedBytes: () => socket.getBufferedAmount(),
        close: (code, reason) => socket.close(code, reason),
      });
    },
    message(socket, message) {
      if (typeof message === "string") dataOf(socket).session?.receive(message);
      else socket.close(1003, "messages are text");
    },
    close: (socket) => dataOf(socket).session?.closed(),
  };
}

/** @returns the protocol that is agreed on: a browser that offers some, to name a key, needs one of them */
export function protocolOf(request: Request): string | null {
  const offered = (request.headers.get("sec-websocket-protocol") ?? "").split(",").map((one) => one.trim());
  return offered.includes("hadal") ? "hadal" : null;
}

/**
 * A page of any origin may open a socket, with no word of CORS: the origin is checked here.
 * @param allowed origins besides the server's own, true for all
 * @throws {RequestError} 403
 */
export function checkOrigin(request: Request, allowed: Origins): void {
  const origin = request.headers.get("origin");
  if (origin === null || allowed === "*") return; // no browser leaves it out
  const host = request.headers.get("host");
  const isOwn = URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
  if (isOwn || allowed.includes(origin)) return;
  const message = "Cannot open the WebSocket: pages of this origin are not let in, `cors` says which are";
  throw new RequestError(message, { status: 403, code: "origin_not_allowed" });
}

/**
 * @returns the answer to a handshake; null where the server will answer it
 * @throws {RequestError} 426 for a request that is none, or a server that has no WebSockets
 */
export function openSocket(
  request: Request,
  server: SocketServer,
  protocol: string | null,
  open: OpenSession,
  maxBytes: number,
): Response | null {
  if (request.headers.get("upgrade")?.toLowerCase() === "websocket") {
    if (server.openSocket) return server.openSocket(open, protocol);
    const headers = protocol === null ? undefined : { "sec-websocket-protocol": protocol };
    if (server.upgrade?.(request, { data: { open }, headers })) return null;
    const upgraded = upgradeWebSocket(request, protocol);
    if (upgraded !== null) {
      join(upgraded.socket, open, maxBytes);
      return upgraded.response;
    }
  }
  throw new RequestError("Cannot open a WebSocket: the request or the server does not ask for one", {
    status: 426,
    code: "upgrade_required",
    detail: { upgrade: "websocket" },
  });
}

/** A socket of the web's own kind, as Deno has it. */
function join(socket: WebSocket, open: OpenSession, maxBytes: number): void {
  let session: SocketSession | null = null;
  socket.onopen = () => {
    session = open({
      send: (text) => socket.readyState === WebSocket.OPEN && socket.send(text),
      bufferedBytes: () => socket.bufferedAmount,
      close: (code, reason) => {
        // Codes of the protocol itself are not a caller's to send.
        if (socket.readyState === WebSocket.OPEN) socket.close(code === 1000 ? code : code + 3000, reason);
      },
    });
  };
  socket.onmessage = ({ data }) => {
    if (typeof data !== "string") socket.close(4003, "messages are text");
    else if (data.length > maxBytes) socket.close(4009, `a message has at most ${maxBytes} bytes`);
    else session?.receive(data);
  };
  socket.onclose = () => session?.closed();
  socket.onerror = () => session?.closed();
}
