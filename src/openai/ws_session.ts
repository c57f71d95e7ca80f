/**
 * What is said over a WebSocket: messages are the bodies of chat and text completions, each with a
 * `request_id` of the client's choice, and what comes back are the chunks that HTTP would stream, with the
 * same `request_id`. Each is a request to the handler, so that limits, keys and errors are those of HTTP.
 * @module
 */
import { RequestError } from "../errors.ts";
import { apiError } from "./errors.ts";

/** What carries the messages; each server has its own. */
export interface SocketTransport {
  send(text: string): void;
  /** What was sent and not taken yet. */
  bufferedBytes(): number;
  /** Harmless once it is closed. */
  close(code: number, reason: string): void;
}

/** What a transport tells. */
export interface SocketSession {
  receive(text: string): void;
  /** The client is gone: what it asked for ends. */
  closed(): void;
  /** Takes no more requests and closes when the running ones are answered. */
  finish(): void;
}

/** Begins a session once the transport stands. */
export type OpenSession = (transport: SocketTransport) => SocketSession;

/** Asks the handler. */
export type Ask = (path: string, body: string, signal: AbortSignal) => Promise<Response>;

/** Requests that one socket may have running. */
const mostRunning = 32;
/** A client that has not taken so much is waited for, and given up after a time. */
const maxBufferedBytes = 1 << 20, stalledMs = 30_000, pollMs = 10;

type RequestId = string | number | null;
type Message = { readonly [key: string]: unknown };

/** @param ask what answers a body as HTTP would */
export function socketSession(transport: SocketTransport, ask: Ask): SocketSession {
  const running = new Map<RequestId, AbortController>();
  let isClosed = false, isFinishing = false;

  const send = (id: RequestId, json: string) => {
    if (isClosed) return;
    transport.send(id === null ? json : `{"request_id":${JSON.stringify(id)},${json.slice(1)}`);
  };
  const fail = (id: RequestId, error: unknown) => {
    send(id, JSON.stringify(apiError(error).body));
    send(id, '{"done":true}');
  };

  const answer = async (id: RequestId, path: string, body: string) => {
    const abort = new AbortController();
    running.set(id, abort);
    try {
      const response = await ask(path, body, abort.signal);
      for await (const json of jsonOf(response)) {
        send(id, json);
        await taken(transport, () => isClosed);
        if (isClosed) break;
      }
      send(id, '{"done":true}');
    } catch (error) {
      fail(id, error);
    } finally {
      running.delete(id);
      if (isFinishing && running.size === 0) transport.close(1001, "the server ends");
    }
  };

  return {
    receive(text) {
      if (transport.bufferedBytes() > 4 * maxBufferedBytes) {
        return transport.close(1008, "what was sent is not taken");
      }
      let id: RequestId = null;
      try {
        const message = messageOf(text);
        if (message.cancel !== undefined) return running.get(idOf(message.cancel, "cancel"))?.abort();
        const { request_id, ...body } = message;
        const path = pathOf(body);
        const wanted = idOf(request_id ?? null, "request_id");
        if (running.has(wanted)) {
          const problem = wanted === null ? "one without request_id" : "another one with this request_id";
          throw problemWith("request_id", `${problem} is being answered`);
        }
        id = wanted;
        if (running.size >= mostRunning || isFinishing) {
          const message = `Cannot take the request: at most ${mostRunning} run on one socket`;
          throw new RequestError(message, { status: 429, code: "too_many_requests" });
        }
        answer(id, path, JSON.stringify({ stream: true, ...body }));
      } catch (error) {
        fail(id, error);
      }
    },
    closed() {
      isClosed = true;
      for (const abort of running.values()) abort.abort();
    },
    finish() {
      isFinishing = true;
      if (running.size === 0) transport.close(1001, "the server ends");
    },
  };
}

function messageOf(text: string): Message {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    throw new RequestError("Cannot read the message: it is no JSON");
  }
  if (typeof message === "object" && message !== null && !Array.isArray(message)) return message as Message;
  throw new RequestError("Cannot read the message: an object is needed");
}

function pathOf(body: Message): string {
  if (body.messages !== undefined) return "/v1/chat/completions";
  if (body.prompt !== undefined) return "/v1/completions";
  throw problemWith("messages", "messages or a prompt are needed");
}

function idOf(value: unknown, param: string): RequestId {
  if (value === null || Number.isSafeInteger(value)) return value as RequestId;
  if (typeof value === "string" && value.length <= 128) return value;
  throw problemWith(param, "a text of at most 128 characters or a whole number is needed");
}

const problemWith = (param: string, problem: string): RequestError =>
  new RequestError(`Cannot use ${param}: ${problem}`, { param });

/** The objects of an answer, as JSON: its events, or its only one. Leaving early ends the reply. */
async function* jsonOf(response: Response): AsyncGenerator<string> {
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    yield await response.text();
    return;
  }
  const decoder = new TextDecoder();
  let held = "";
  for await (const bytes of response.body!) {
    const lines = (held + decoder.decode(bytes, { stream: true })).split("\n");
    held = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield line.slice(6);
    }
  }
}

/** Waits until the client has taken most of what was sent; one that takes nothing is given up. */
async function taken(transport: SocketTransport, isClosed: () => boolean): Promise<void> {
  for (let waitedMs = 0; transport.bufferedBytes() > maxBufferedBytes && !isClosed(); waitedMs += pollMs) {
    if (waitedMs >= stalledMs) return transport.close(1008, "nothing was taken for too long");
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
