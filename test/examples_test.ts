/** The examples as users run them: whole processes of the runtime that runs this file. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { start, startIn, startServing } from "./run_example.ts";

/** The server on the reference backend, on a port of its own. */
const startServer = (...args: string[]) =>
  startServing("server.ts", "--backend", "reference", "--port", "0", ...args);

const ask = (url: string, body: object) =>
  fetch(`${url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body) });
const messages = [{ role: "user", content: "Tell me a story." }];
/** More than can be told before a signal comes. */
const endless = { max_tokens: 1e6, context_overflow: "shift", logit_bias: { 1: -100 } };

test("the server answers, drains on Ctrl-C and ends well", async () => {
  const { child, url, ended, says } = await startServer();
  await says("stderr", /^Loading .*\n(.*\n)*minnow on reference /);
  await says("stdout", /curl /);
  assert.equal((await ask(url, { messages, max_tokens: 3 })).status, 200);
  // The answer's head has come, and most of its 200 tokens have not.
  const running = await ask(url, { messages, max_tokens: 200, logit_bias: { 1: -100 }, stream: true });
  process.kill(child.pid!, "SIGINT");
  assert.match(await running.text(), /"finish_reason":"length"/, "what was running was finished");
  const { code, stderr } = await ended;
  assert.equal(code, 0, stderr);
  await assert.rejects(fetch(`${url}/health`));
});

test("a second Ctrl-C ends the server at once", async () => {
  const { child, url, ended, says } = await startServer("--api-key", "secret");
  assert.equal((await ask(url, { messages })).status, 401);
  const headers = { authorization: "Bearer secret" };
  const body = JSON.stringify({ messages, ...endless, stream: true });
  const running = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
  const whole = running.text().catch(() => "cut off");
  process.kill(child.pid!, "SIGINT");
  await says("stderr", /once more to stop at once/);
  process.kill(child.pid!, "SIGINT");
  assert.equal((await ended).code, 130);
  assert.doesNotMatch(await whole, /"finish_reason":"/);
});

/** An environment without built kernels, and with one compiler: this shell script. */
function environmentWith(script: string): { env: NodeJS.ProcessEnv; compiler: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "hadal-test-"));
  const compiler = join(folder, "compiler");
  writeFileSync(compiler, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  // Deno's own cache lies there too.
  const caches = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const env: NodeJS.ProcessEnv = { DENO_DIR: join(caches, "deno"), ...process.env };
  delete env.HADAL_CPU_LIBRARY;
  Object.assign(env, { XDG_CACHE_HOME: folder, PATH: folder, CC: compiler });
  return { env, compiler, remove: () => rmSync(folder, { recursive: true }) };
}

test("Ctrl-C ends an example that loads, and says nothing", async () => {
  const { env, compiler, remove } = environmentWith('echo > "$0.$PPID"; exec /bin/sleep 5');
  for (const name of ["server.ts", "chat.ts"]) {
    const { child, ended } = startIn(env, name, "--backend", "cpu");
    while (child.exitCode === null && !existsSync(`${compiler}.${child.pid}`)) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    process.kill(child.pid!, "SIGINT");
    const { code, stderr } = await ended;
    assert.equal(code, 130);
    assert.match(stderr, /^((Loading|Building) .*\n)*$/);
  }
  remove();
});

test("an example that fell back to the reference says why", async () => {
  const { env, remove } = environmentWith("echo no such luck >&2; exit 1");
  const server = startIn(env, "server.ts", "--port", "65535", "--host", "192.0.2.1");
  const chat = startIn(env, "chat.ts");
  chat.child.stdin!.end();
  const outcomes = [await server.ended, await chat.ended];
  remove();
  for (const { stderr } of outcomes) {
    assert.match(stderr, /^Not on cpu: Cannot build the CPU kernels: .*no such luck/m);
  }
});

test("whatever keeps the server from starting is one sentence and exit code 2", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  const reference = ["--backend", "reference"];
  const wrong: [string[], RegExp][] = [
    [["--bogus"], /--bogus/],
    [["--port", "http"], /--port: "http" was given/],
    [["--port", "65536"], /--port/],
    [["--threads", "0"], /--threads/],
    [["--api-key", ""], /--api-key: the key is empty/],
    [["--backend", "abacus"], /backend/],
    [["--model", "/no/such/folder"], /no such folder/],
    [[...reference, "--allow-host", "a:80"], /hosts: "a:80" was given/],
    [[...reference, "--context", "1000000"], /context of 1000000/],
    [[...reference, "--port", String(port)], /Cannot listen on 127\.0\.0\.1:\d+: the port is in use/],
  ];
  const outcomes = await Promise.all(wrong.map(([args]) => start("server.ts", ...args).ended));
  taken.close();
  for (const [i, { code, stderr }] of outcomes.entries()) {
    const [args, message] = wrong[i];
    assert.equal(code, 2, `${args.join(" ")}: ${stderr}`);
    const told = stderr.split("\n").filter((line) => !/^(Loading |minnow on |$)/.test(line));
    assert.equal(told.length, 1, stderr);
    assert.match(told[0], message);
  }
});

test("the chat answers the lines of a pipe, and remembers until it is reset", async () => {
  const { child, ended } = start("chat.ts", "--backend", "reference", "--temperature", "0");
  child.stdin!.end("Say hello.\n/reset\n/bogus\nSay hello.\n");
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 0, stderr);
  const [first, told, again] = stdout.trim().split(/\n(?=The commands)|(?<=\/help)\n/);
  assert.equal(told, "The commands are /reset, /quit and /help");
  assert(first.length > 5);
  assert.equal(again, first);
});

test("both examples explain themselves", async () => {
  for (const name of ["server.ts", "chat.ts"]) {
    const { code, stdout } = await start(name, "--help").ended;
    assert.equal(code, 0);
    assert.match(stdout, /--model SOURCE/);
  }
});
