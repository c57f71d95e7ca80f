import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { load, type LoadOptions, type Message, RequestError } from "../mod.ts";
import { abandonedPath } from "./abandoned.ts";

const folder = mkdtempSync(join(tmpdir(), "hadal-saved-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const open = (options: LoadOptions = {}) =>
  load("minnow", { backend: "auto", contextLength: 256, ...options });
const greedy = { maxTokens: 12, temperature: 0 };
const path = join(folder, "talk.hadal");
const question: Message = {
  role: "user",
  content: "Tell me a story about a fox and a lamp, a long and quiet one.",
};
const next: Message = { role: "user", content: "And then?" };

test("a conversation goes on from its file in another process, and says what it would have said", async () => {
  await using first = await open();
  const { text } = await first.chat([question], greedy);
  const messages: Message[] = [question, { role: "assistant", content: text }];
  writeFileSync(abandonedPath(path), "half"); // of a process that was killed
  const saved = await first.saveConversation(path, messages);
  assert.deepEqual(readdirSync(folder), [basename(path)]);
  assert.equal(saved.keptTokens, saved.tokens.length);
  const expected = await first.chat([...messages, next], greedy);
  if (process.platform !== "win32") assert.equal(statSync(path).mode & 0o777, 0o600);

  await using second = await open();
  const found = await second.loadConversation(path, { tenant: "someone" });
  assert.deepEqual(found, { messages, tokens: saved.tokens, keptTokens: saved.tokens.length });
  const reply = await second.chat([...found.messages!, next], { ...greedy, tenant: "someone" });
  assert.equal(reply.usage.cachedTokens, saved.tokens.length);
  assert.deepEqual(reply.tokens, expected.tokens);
  const others = await second.chat([...messages, next], greedy);
  assert.equal(others.usage.cachedTokens, 0, "of another tenant");
});

test("a file of another cache is refused by name, one that another backend computed is computed again", async () => {
  await using other = await open({ kvCache: { dtype: "bf16" } });
  await assert.rejects(other.loadConversation(path), (error) => {
    assert.ok(error instanceof RequestError);
    assert.equal(error.code, "conversation_mismatch");
    assert.match(error.message, /another cache/);
    return true;
  });
  await using one = await open({ activations: "f32", isa: "portable" }).catch(() =>
    open({ prefixCache: false })
  );
  const found = await one.loadConversation(path);
  assert.equal(found.keptTokens, 0);
  assert.equal(found.messages!.length, 2);
});

test("a file that is damaged anywhere is refused, and the model goes on", async () => {
  await using model = await open();
  const bytes = readFileSync(path), bad = join(folder, "bad.hadal");
  const damages = [0, 8, 9, 11, 12, 40, 200, bytes.length - 40, bytes.length - 1].map((at) => {
    const copy = Buffer.from(bytes);
    copy[at] ^= 0x55;
    return copy;
  });
  const cut = [0, 11, 12, 100, bytes.length - 1].map((size) => bytes.subarray(0, size));
  for (const damaged of [...damages, ...cut, Buffer.concat([bytes, Buffer.of(0)])]) {
    writeFileSync(bad, damaged);
    await assert.rejects(model.loadConversation(bad));
  }
  await assert.rejects(model.loadConversation(join(folder, "none")));
  if (process.platform !== "win32") {
    const pipe = join(folder, "pipe"); // which nobody writes to
    assert.equal(spawnSync("mkfifo", [pipe]).status, 0);
    await assert.rejects(model.loadConversation(pipe), /it is no conversation/);
  }
  const { usage } = await model.chat([question], greedy);
  assert.equal(usage.cachedTokens, 0);
  assert.equal((await model.stats()).cacheBlocks.used, 0);
});
