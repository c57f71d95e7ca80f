import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import type { Handler } from "../../src/openai/handler.ts";
import { serve } from "../../src/openai/serve.ts";
import { until } from "../until.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A server on a free port, until `use` is done. */
async function serving(handler: Handler, use: (url: string, stop: () => Promise<void>) => Promise<void>) {
  const end = new AbortController();
  let served = Promise.resolve();
  const url = await new Promise<string>((resolve, reject) => {
    served = serve(handler, { port: 0, signal: end.signal, onListen: ({ url }) => resolve(url) });
    served.catch(reject);
  });
  const stop = () => {
    end.abort();
    return served;
  };
  try {
    await use(url, stop);
  } finally {
    await stop();
  }
}

/** A body that sends `text` every 20 ms until it is cancelled. */
const ticking = (text: string, cancel: () => void) =>
  new ReadableStream({
    async pull(controller) {
      await pause(20);
      controller.enqueue(new TextEncoder().encode(text));
    },
    cancel,
  });

test("requests and responses pass with method, path, headers and body", async () => {
  const echo: Handler = async (request) => {
    const { method, url, headers } = request;
    const { pathname, search } = new URL(url);
    const answer = {
      method,
      path: pathname + search,
      type: headers.get("content-type"),
      body: await request.text(),
    };
    return Response.json(answer, { status: 201, headers: { "x-extra": "yes" } });
  };
  await serving(echo, async (url) => {
    const response = await fetch(`${url}/a%20b?c=d`, {
      method: "POST",
      body: "é".repeat(1e5),
      headers: { "content-type": "text/x" },
    });
    assert.equal(response.status, 201);
    assert.equal(response.headers.get("x-extra"), "yes");
    const { method, path, type, body } = await response.json();
    assert.deepEqual({ method, path, type }, { method: "POST", path: "/a%20b?c=d", type: "text/x" });
    assert.equal(body, "é".repeat(1e5));
    const head = await fetch(url, { method: "HEAD" });
    assert.equal(head.status, 201);
    assert.equal(await head.text(), "");
  });
});

test("the path is that of the request line, whatever Host says", async () => {
  const path: Handler = (request) => Promise.resolve(new Response(new URL(request.url).pathname));
  await serving(path, async (url) => {
    for (
      const [target, expected] of [["/ok", "/ok"], ["//evil/x", "//evil/x"], ["http://evil/x", ""], ["*", ""]]
    ) {
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x/stat?a=\r\nConnection: close\r\n\r\n`);
      let answer = "";
      socket.on("data", (data) => answer += data);
      await once(socket, "close");
      assert.equal(/\r\n\r\n.*?(\/[^\r\n]*)/s.exec(answer)?.[1] ?? "", expected, target);
    }
  });
});

test("a method that no request can have is refused like any other", async () => {
  await serving(() => Promise.resolve(new Response("ok")), async (url) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.write("TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = "";
    socket.on("data", (data) => answer += data);
    await once(socket, "close");
    assert.match(answer, /^HTTP\/1\.1 405 /);
    assert.match(answer, /\r\nallow: GET, HEAD, POST\r\n/i);
    assert.ok(answer.includes('"code":"method_not_allowed"'));
  });
});

test("a client that goes away aborts the signal and cancels the body", async () => {
  const seen: string[] = [];
  const handler: Handler = async (request) => {
    seen.push("request");
    request.signal.addEventListener("abort", () => seen.push("signal"));
    if (request.url.endsWith("/quiet")) await once(request.signal, "abort");
    return new Response(ticking(".", () => seen.push("body")));
  };
  await serving(handler, async (url) => {
    for (const path of ["/quiet", "/stream"]) {
      seen.length = 0;
      const gone = new AbortController();
      const response = fetch(url + path, { signal: gone.signal });
      if (path === "/stream") await (await response).body!.getReader().read();
      await until(() => seen.length > 0, "the request came");
      gone.abort();
      if (path === "/quiet") await assert.rejects(response);
      await until(() => seen.length === 3, "signal and body were told");
      assert.deepEqual(seen.toSorted(), ["body", "request", "signal"]);
    }
  });
});

test("a client that stops reading holds the body back", async () => {
  let sent = 0;
  const handler: Handler = () =>
    Promise.resolve(
      new Response(
        new ReadableStream({
          pull(controller) {
            sent++;
            controller.enqueue(new Uint8Array(65536));
          },
        }),
      ),
    );
  await serving(handler, async (url) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    for (let before = -1; sent !== before && sent < 1000;) { // until all that lies between is full
      before = sent;
      await pause(100);
    }
    assert(sent < 1000, `${sent} pieces of 64 KiB were taken`);
    socket.destroy();
  });
});

test("a handler that stops reading holds the client back, and then gets the whole body", async () => {
  const piece = new Uint8Array(65536), nPieces = 320;
  let goOn = () => {};
  const isRead = new Promise<void>((resolve) => goOn = resolve);
  const handler: Handler = async (request) => {
    let sizeBytes = 0;
    const reader = request.body!.getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      sizeBytes += read.value.length;
      await isRead;
    }
    return new Response(String(sizeBytes));
  };
  await serving(handler, async (url) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    const head = `POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${
      nPieces * piece.length
    }\r\n\r\n`;
    socket.write(head);
    let isSent = false;
    for (let i = 1; i <= nPieces; i++) socket.write(piece, () => isSent = i === nPieces);
    await pause(300);
    assert.equal(isSent, false, "all was taken although nobody read it");
    goOn();
    let answer = "";
    for await (const bytes of socket) answer += bytes;
    assert.equal(answer.includes(String(nPieces * piece.length)), true);
  });
});

test("a body that ends early fails for whoever reads it", async () => {
  let told = (_: unknown) => {}, isReading = false;
  const problem = new Promise((resolve) => told = resolve);
  const handler: Handler = async (request) => {
    isReading = true;
    await request.text().then(() => told(null), told);
    return new Response();
  };
  await serving(handler, async (url) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this");
    await until(() => isReading, "the request came");
    socket.destroy();
    assert(await problem instanceof Error);
  });
});

test("a body that nobody reads is passed over: the next request of the connection is answered", async () => {
  const handler: Handler = (request) => Promise.resolve(new Response(`<${new URL(request.url).pathname}>`));
  await serving(handler, async (url) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    const body = "x".repeat(1e6);
    socket.write(`POST /one HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    socket.write("GET /two HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answers = "";
    for await (const bytes of socket) answers += bytes;
    assert.deepEqual(answers.match(/<.*?>/g), ["</one>", "</two>"]);
  });
});

test("a server that is told to end finishes what runs and takes nothing new", async () => {
  let isRunning = false, goOn = () => {};
  const isRefused = new Promise<void>((resolve) => goOn = resolve);
  const handler: Handler = async (request) => {
    if (request.url.endsWith("/late")) return new Response(); // it was on its way
    isRunning = true;
    await isRefused;
    return new Response("whole");
  };
  await serving(handler, async (url, stop) => {
    const running = fetch(url).then((response) => response.text());
    await until(() => isRunning, "the request came");
    const stopped = stop();
    const isLate = () => fetch(`${url}/late`).then(async (late) => await late.text() !== "", () => true);
    await until(isLate, "nothing new was taken");
    goOn();
    assert.equal(await running, "whole");
    await stopped;
  });
});

test("a port in use is told in one sentence", async () => {
  await serving(() => Promise.resolve(new Response()), async (url) => {
    const port = Number(new URL(url).port);
    await assert.rejects(serve(() => Promise.resolve(new Response()), { port }), {
      message: `Cannot listen on 127.0.0.1:${port}: the port is in use, another one is needed`,
    });
  });
});

test("a handler that throws closes the connection and harms nobody else", async () => {
  const handler: Handler = (request) =>
    request.url.endsWith("/bad") ? Promise.reject(new Error("no")) : Promise.resolve(new Response("fine"));
  await serving(handler, async (url) => {
    await assert.rejects(fetch(url + "/bad"));
    assert.equal(await (await fetch(url)).text(), "fine");
  });
});
