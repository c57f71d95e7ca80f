/**
 * What does the server add to the engine? The same prompts through the library and through HTTP on loopback,
 * by turns: time a token of several streams at once, and time to the first token of one. The clients read in
 * a Worker, so that their work is not the server's. What they and the loopback take of the time to the first token
 * shows with a socket that passes bytes to the library and its tokens back, and knows no HTTP.
 *
 *     deno run -A bench/server.ts [--model FOLDER] [--streams 8] [--tokens 128] [--rounds 9] [--threads N]
 *     bun bench/server.ts …
 * @module
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { type LanguageModel, load, openaiHandler, serve } from "../mod.ts";

/** One measurement, of either way. */
interface Work {
  readonly url: string;
  readonly speaksHttp: boolean;
  readonly nStreams: number;
  readonly nTokens: number;
}
/** Milliseconds from the request to the first piece, and to the end of the last stream. */
interface Times {
  readonly first: number;
  readonly all: number;
}

/** Requests after which a server that has just started runs as it will from then on. */
const warmUps = 200;

/** Where a chunked body ends. */
const lastChunk = Buffer.from("0\r\n\r\n");

const messages = [{ role: "user" as const, content: "Tell me a story about a fox and a lamp." }];

if (isMainThread) await measure();
else parentPort!.on("message", async (work: Work) => parentPort!.postMessage(await throughHttp(work)));

async function measure(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: "minnow" },
      streams: { type: "string", default: "8" },
      tokens: { type: "string", default: "128" },
      rounds: { type: "string", default: "9" },
      threads: { type: "string" },
    },
  });
  const [nStreams, nTokens, nRounds] = [values.streams, values.tokens, values.rounds].map(Number);
  const threads = values.threads === undefined ? undefined : Number(values.threads);
  await using model = await load(values.model, { threads, maxSequences: nStreams });
  const stop = new AbortController();
  let serving = Promise.resolve();
  const url = await new Promise<string>((resolve) => {
    const onListen = (at: { url: string }) => resolve(at.url);
    serving = serve(openaiHandler(model), { port: 0, signal: stop.signal, onListen });
  });
  const bare = await bareSocket(model);
  const clients = new Worker(new URL(import.meta.url));
  const through = (work: Work): Promise<Times> =>
    new Promise((resolve) => {
      clients.once("message", resolve);
      clients.postMessage(work);
    });
  const http = (nStreams: number, nTokens: number) => through({ url, speaksHttp: true, nStreams, nTokens });
  const socket = () => through({ url: bare.url, speaksHttp: false, nStreams: 1, nTokens: 1 });

  const perToken = { library: [] as number[], http: [] as number[] };
  const first = { library: [] as number[], socket: [] as number[], http: [] as number[] };
  for (let i = 0; i < warmUps; i++) await http(1, 1);
  for (let round = -1; round < nRounds; round++) { // the first warms up
    const streamed = {
      library: await inProcess(model, nStreams, nTokens),
      http: await http(nStreams, nTokens),
    };
    // One token: the time to the first is the time of all.
    const single = { library: [] as number[], socket: [] as number[], http: [] as number[] };
    for (let i = 0; i < 10; i++) {
      single.library.push((await inProcess(model, 1, 1)).first);
      single.socket.push((await socket()).first);
      single.http.push((await http(1, 1)).first);
    }
    if (round < 0) continue;
    for (const way of ["library", "http"] as const) perToken[way].push(streamed[way].all / nTokens);
    for (const way of ["library", "socket", "http"] as const) first[way].push(median(single[way]));
  }
  for (const [way, name] of [["library", "library"], ["http", "HTTP"]] as const) {
    const [typical, best] = [median(perToken[way]), Math.min(...perToken[way])];
    console.log(
      `${name.padEnd(7)} ${typical.toFixed(3)} ms a token at ${nStreams} streams (${
        best.toFixed(3)
      } at best), ` +
        `first token after ${median(first[way]).toFixed(2)} ms`,
    );
  }
  const ratio = median(perToken.http.map((time, i) => time / perToken.library[i] - 1));
  const later = median(first.http.map((time, i) => time - first.library[i]));
  const ofClient = median(first.socket.map((time, i) => time - first.library[i]));
  console.log(
    `The server adds ${(100 * ratio).toFixed(1)} % to a token and ${
      later.toFixed(2)
    } ms to the first, of which ` +
      `a client takes ${ofClient.toFixed(2)} ms at a bare socket (medians of ${nRounds} rounds)`,
  );
  bare.close();
  stop.abort();
  await serving;
  await clients.terminate();
}

async function inProcess(model: LanguageModel, nStreams: number, nTokens: number): Promise<Times> {
  const start = performance.now();
  let first = Infinity;
  await Promise.all(Array.from({ length: nStreams }, async () => {
    const reply = model.chat(messages, { maxTokens: nTokens, ignoreEos: true, temperature: 0 });
    for await (const _ of reply) first = Math.min(first, performance.now() - start);
  }));
  return { first, all: performance.now() - start };
}

/** Listens for anybody who sends anything, and answers with the first token. */
async function bareSocket(model: LanguageModel): Promise<{ url: string; close(): void }> {
  const server = createServer((socket) => {
    socket.once("data", async () => {
      const reply = model.chat(messages, { maxTokens: 1, ignoreEos: true, temperature: 0 });
      for await (const { text } of reply) socket.write(JSON.stringify({ content: text }));
      socket.end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, close: () => void server.close() };
}

/**
 * Reads the bytes of all streams, from plain sockets that have carried a request before the time starts, as those
 * that clients keep; and looks into none but the first that has text: what a client spends beyond that is not the
 * server's, and on one machine all of them share the processors.
 */
async function throughHttp({ url, speaksHttp, nStreams, nTokens }: Work): Promise<Times> {
  const body = JSON.stringify({
    messages,
    max_tokens: nTokens,
    ignore_eos: true,
    temperature: 0,
    stream: true,
  });
  const { hostname, port, host } = new URL(url);
  const post = `POST /v1/chat/completions HTTP/1.1\r\nHost: ${host}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const sockets = await Promise.all(Array.from({ length: nStreams }, async () => {
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    if (speaksHttp) {
      socket.write(`GET /health/live HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await once(socket, "data");
    }
    return socket;
  }));
  await delay(5); // the bare socket takes them up a little later
  const start = performance.now();
  let first = Infinity;
  await Promise.all(sockets.map((socket) => {
    socket.on("data", (bytes) => {
      if (first === Infinity && /"content":"[^"]/.test(bytes.toString())) first = performance.now() - start;
      if (bytes.subarray(-lastChunk.length).equals(lastChunk)) socket.end();
    });
    socket.write(post);
    return once(socket, "close");
  }));
  return { first, all: performance.now() - start };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
