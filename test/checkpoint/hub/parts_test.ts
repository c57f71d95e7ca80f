import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { forAll, Limit } from "../../../src/checkpoint/hub/limit.ts";
import {
  blobNameOf,
  isModelId,
  isSafePath,
  matches,
  parseHubSource,
} from "../../../src/checkpoint/hub/names.ts";
import { type DownloadProgress, Meter } from "../../../src/checkpoint/hub/progress.ts";
import { retryAfterMs } from "../../../src/checkpoint/hub/retry.ts";

test("patterns match as a shell's do, in time linear in the text", () => {
  const cases: [path: string, pattern: string, isMatch: boolean][] = [
    ["config.json", "*.json", true],
    ["config.json", "*.jso", false],
    ["config.json", "config.json", true],
    ["config.json", "c?nfig.*", true],
    ["config.json", "?onfig", false],
    ["a/b.gguf", "*.gguf", true],
    ["a/b.gguf", "b.gguf", true],
    ["a/b.gguf", "a/*", true],
    ["a/b.gguf", "c/*", false],
    ["", "*", true],
    ["x", "", false],
    ["a+b", "a+b", true],
    ["aXb", "a.b", false],
    ["a".repeat(50_000), "*a*a*a*a*b", false],
  ];
  for (const [path, pattern, isMatch] of cases) {
    assert.equal(matches(path, pattern), isMatch, `${path.slice(0, 20)} ${pattern}`);
  }
  const word = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 8 });
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 10 });
  fc.assert(fc.property(text, word, (path, pattern) => {
    const regex = new RegExp(`^${pattern.replaceAll("*", ".*").replaceAll("?", ".")}$`);
    assert.equal(matches(path, pattern), regex.test(path));
  }));
});

test("no path that is taken for safe leads out of a folder", () => {
  const part = fc.constantFrom(
    "..",
    ".",
    "",
    "a",
    "b.json",
    "..a",
    "a..",
    "c:",
    "\\",
    "con",
    "nul.txt",
    "a b",
    "ä",
    "\0",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 5 }), fc.constantFrom("/", "\\"), (parts, slash) => {
      const path = parts.join(slash);
      if (!isSafePath(path)) return;
      const { pathname } = new URL(path.split("/").map(encodeURIComponent).join("/"), "file:///root/folder/");
      assert.ok(pathname.startsWith("/root/folder/") && pathname.length > "/root/folder/".length, path);
      assert.ok(!/[\\:\0]|(^|\/)\.*(\/|$)/.test(path), path);
    }),
    { numRuns: 2000 },
  );
});

test("names of models and of blobs have their exact form", () => {
  for (const id of ["deepseek-ai/DeepSeek-V2-Lite-Chat", "moonshotai/Kimi-K2-Instruct", "a/b", "0-0/x_y.z"]) {
    assert.ok(isModelId(id), id);
  }
  for (const id of ["a", "a/b/c", "./a/b", "a/", "/b", "a/b.", "a/b-", "a..b/c", "~/b", "a/b c"]) {
    assert.ok(!isModelId(id), id);
  }
  for (
    const [source, id, gguf] of [
      ["a/b", "a/b", ""],
      ["a/b:Q4_K_M", "a/b", ":Q4_K_M"],
      ["a/b/q/c.gguf", "a/b", "/q/c.gguf"],
    ]
  ) assert.deepEqual(parseHubSource(source), { id, gguf });
  for (const source of ["a/b:", "a/b:c/d", "a/b/c", "a/b/../c.gguf", "a/b//c.gguf", "C:/a/b", "a/b:Q4:Q5"]) {
    assert.equal(parseHubSource(source), null, source);
  }
  const [sha1, sha256] = ["a1".repeat(20), "0f".repeat(32)];
  for (const name of [sha1, sha256]) {
    for (const etag of [name, `"${name}"`, `W/"${name}"`]) assert.equal(blobNameOf(etag), name);
  }
  for (
    const etag of ["", '""', "x".repeat(40), sha1.toUpperCase(), `${sha1}0`, `../${sha1}`, `${sha256}-2`]
  ) assert.equal(blobNameOf(etag), null);
});

test("Retry-After is seconds or a date", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  assert.equal(retryAfterMs("3", now), 3000);
  assert.equal(retryAfterMs(" 0 ", now), 0);
  assert.equal(retryAfterMs("Thu, 01 Jan 2026 00:01:00 GMT", now), 60_000);
  assert.equal(retryAfterMs("Wed, 31 Dec 2025 00:00:00 GMT", now), 0);
  for (const other of [null, "", "soon", "-1", "1e9", "99999999999999999999"]) {
    const wait = retryAfterMs(other, now);
    assert.ok(wait === null || wait === 0, `${other}: ${wait}`);
  }
});

test("the rate is that of the last seconds, and says how long it will take", () => {
  let now = 0;
  let told: DownloadProgress | undefined;
  const meter = new Meter((progress) => told = progress, () => now);
  meter.expect(1000, 100);
  for (; now < 10_000; now += 500) meter.receive(10);
  assert.equal(told!.doneBytes, 300);
  assert.ok(Math.abs(told!.bytesPerSecond - 20) < 3, `${told!.bytesPerSecond}`);
  assert.ok(Math.abs(told!.secondsLeft! - 700 / 20) < 6);
  for (; now < 20_000; now += 500) meter.receive(20);
  assert.ok(Math.abs(told!.bytesPerSecond - 40) < 5, `the slow past is forgotten: ${told!.bytesPerSecond}`);
  now += 60_000;
  meter.wait("x");
  assert.equal(told!.waitingFor, "x");
  meter.correct(-100);
  meter.finishFile();
  assert.deepEqual([told!.doneBytes, told!.filesDone, told!.files], [600, 1, 1]);
  assert.equal(new Meter(() => {}, () => now).progress().secondsLeft, null);
});

test("what runs under a limit is never more than it, and a failure stops the others and is told once", async () => {
  const limit = new Limit(3);
  let running = 0, most = 0;
  const { signal } = new AbortController();
  const results = await forAll(Array.from({ length: 20 }, (_, i) => i), signal, (i) =>
    limit.run(async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
      return i * i;
    }));
  assert.deepEqual([most, running, results.at(-1)], [3, 0, 361]);

  const reason = new Error("the third");
  let started = 0, stopped = 0;
  await assert.rejects(
    forAll([1, 2, 3, 4, 5], signal, (i, signal) =>
      limit.run(async () => {
        signal.throwIfAborted();
        started++;
        if (i === 3) throw reason;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        stopped++;
      })),
    reason,
  );
  assert.ok(started < 5, "the last one never starts");
  assert.equal(stopped, started - 1);
});
