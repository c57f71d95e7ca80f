/**
 * What does the server add to the engine? The same prompts through the library and through HTTP on loopback:
 * time a token of several streams at once, and time to the first token of one. Both ways take turns closely, as
 * A B B A, each after the same rest, and what is told is the median over the turns of what one adds to the other,
 * and between which figures it lies with a certainty of 95 %; beside it the processor time of the thread that
 * serves. The clients read in a Worker, so that their work is not the server's, from plain sockets: what they and
 * the loopback take of the time to the first token shows with a socket that knows no HTTP, and passes as many bytes
 * to the library and back.
 *
 *     deno run -A bench/server.ts [--model FOLDER] [--streams 8] [--tokens 128] [--rounds 15] [--singles 10]
 *         [--threads N]
 *     bun bench/server.ts …
 * @module
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { type LanguageModel, load, openaiHandler, serve } from "../mod.ts";
import { median } from "../src/cli/bench/record.ts";
import { inFigures } from "./figures.ts";

/** One measurement, of either way. */
interface Work {
  readonly url: string;
  readonly speaksHttp: boolean;
  readonly nStreams: number;
  readonly nTokens: number;
}
/** Milliseconds from the requests until each has its first piece, and to the end of the last stream. */
interface Times {
  readonly first: number;
  readonly all: number;
  /** Bytes that had come with the first piece. */
  readonly sizeBytes?: number;
}
/** The same, and what it took of the processor. */
interface Taken extends Omit<Times, "sizeBytes"> {
  /** Milliseconds of the thread that serves; NaN where no system tells. */
  readonly spent: number;
}

/** Requests after which a server that has just started runs as it will from then on. */
const warmUps = 200;

/** Before each measurement, of either way: threads that have just computed spin for a while, and answer sooner. */
const restMs = 5;

/** Where a chunked body ends. */
const lastChunk = Buffer.from("0\r\n\r\n");

const messages = [{ role: "user" as const, content: "Tell me a story about a fox and a lamp." }];

/** Milliseconds of a step in which each stream has a token: once all have begun. */
const stepOf = ({ first, all }: Times, nTokens: number): number => (all - first) / (nTokens - 1);

/** Where Linux tells how long this thread has computed: the first of its figures, in ns. */
const schedule = `/proc/self/task/${process.pid}/schedstat`;

if (isMainThread) await measure();
else parentPort!.on("message", async (work: Work) => parentPort!.postMessage(await throughHttp(work)));

async function measure(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: "minnow" },
      streams: { type: "string", default: "8" },
      tokens: { type: "string", default: "128" },
      rounds: { type: "string", default: "15" },
      singles: { type: "string", default: "10" },
      threads: { type: "string" },
    },
  });
  const { streams: ofStreams, tokens: ofTokens, rounds: ofRounds, singles: ofSingles } = values;
  const [nStreams, nTokens, nRounds, nSingles] = [ofStreams, ofTokens, ofRounds, ofSingles].map(Number);
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

  for (let i = 0; i < warmUps; i++) bare.answerWith((await http(1, 1)).sizeBytes!);
  await inProcess(model, nStreams, nTokens);
  await http(nStreams, nTokens);
  const streams: Record<"library" | "http", Taken>[] = [];
  const singles: Record<"library" | "socket" | "http", Taken>[] = [];
  for (let round = 0; round < nRounds; round++) {
    streams.push(
      await turns({
        library: () => inProcess(model, nStreams, nTokens),
        http: () => http(nStreams, nTokens),
      }),
    );
    const ways = { library: () => inProcess(model, 1, 1), socket, http: () => http(1, 1) };
    for (let i = 0; i < nSingles; i++) singles.push(await turns(ways));
  }

  for (const [way, name] of [["library", "library"], ["http", "HTTP"]] as const) {
    const perToken = streams.map((round) => stepOf(round[way], nTokens));
    const spent = streams.map((round) => 1000 * round[way].spent / nTokens / nStreams);
    const first = singles.map((turn) => turn[way].first);
    console.log(
      `${name.padEnd(7)} ${
        inFigures(perToken, 3, "ms a step")
      } of ${nStreams} streams, of which the thread ` +
        `that serves computes ${median(spent).toFixed(1)} µs a token; ${
          inFigures(first, 2, "ms")
        } to the first`,
    );
  }
  const added = streams.map(({ library, http }) =>
    100 * (stepOf(http, nTokens) / stepOf(library, nTokens) - 1)
  );
  const later = singles.map(({ library, http }) => http.first - library.first);
  const ofClient = singles.map(({ library, socket }) => socket.first - library.first);
  console.log(`The server adds ${inFigures(added, 1, "%")} to a token,`);
  console.log(`${inFigures(later, 2, "ms")} to the first, of which`);
  console.log(
    `${
      inFigures(ofClient, 2, "ms")
    } are a client's at a bare socket (${nRounds} rounds, ${singles.length} turns)`,
  );
  bare.close();
  stop.abort();
  await serving;
  await clients.terminate();
}

/** Each way twice, there and back: what changes steadily meanwhile falls upon all of them alike. */
async function turns<Way extends string>(
  ways: Record<Way, () => Promise<Times>>,
): Promise<Record<Way, Taken>> {
  const there = Object.keys(ways) as Way[];
  const found = {} as Record<Way, Taken>;
  for (const way of [...there, ...there.toReversed()]) {
    const before = spentMs();
    const { first, all } = await ways[way]();
    const spent = spentMs() - before;
    const other = found[way] ?? { first, all, spent };
    found[way] = {
      first: (first + other.first) / 2,
      all: (all + other.all) / 2,
      spent: (spent + other.spent) / 2,
    };
  }
  return found;
}

function spentMs(): number {
  return existsSync(schedule) ? Number(readFileSync(schedule, "utf8").split(" ")[0]) / 1e6 : NaN;
}

async function inProcess(model: LanguageModel, nStreams: number, nTokens: number): Promise<Times> {
  await delay(restMs);
  const start = performance.now();
  let first = 0;
  await Promise.all(Array.from({ length: nStreams }, async () => {
    let isBegun = false;
    const reply = model.chat(messages, { maxTokens: nTokens, ignoreEos: true, temperature: 0 });
    for await (const _ of reply) {
      if (!isBegun) first = performance.now() - start;
      isBegun = true;
    }
  }));
  return { first, all: performance.now() - start };
}

/** A server that knows no protocol. */
interface BareSocket {
  readonly url: string;
  /** How many bytes its answers shall have. */
  answerWith(sizeBytes: number): void;
  close(): void;
}

/** Listens for anybody who sends anything, and answers with the first token. */
async function bareSocket(model: LanguageModel): Promise<BareSocket> {
  let sizeBytes = 0;
  const server = createServer((socket) => {
    socket.once("data", async () => {
      const reply = model.chat(messages, { maxTokens: 1, ignoreEos: true, temperature: 0 });
      for await (const { text } of reply) socket.write(JSON.stringify({ content: text }).padEnd(sizeBytes));
      socket.end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, answerWith: (asked) => void (sizeBytes = asked), close: () => void server.close() };
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
  await delay(restMs);
  const start = performance.now();
  let first = 0, sizeBytes = 0;
  await Promise.all(sockets.map((socket) => {
    let isBegun = false;
    socket.on("data", (bytes) => {
      if (!isBegun) sizeBytes += bytes.length;
      if (!isBegun && /"content":"[^"]/.test(bytes.toString())) {
        first = performance.now() - start;
        isBegun = true;
      }
      if (bytes.subarray(-lastChunk.length).equals(lastChunk)) socket.end();
    });
    socket.write(post);
    return once(socket, "close");
  }));
  return { first, all: performance.now() - start, sizeBytes };
}
