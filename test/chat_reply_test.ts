import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatReply, type ReplyPart, type WholeReply } from "../src/chat_reply.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Writes the words, one every few ms, until it is told to stop. @param onWord told how many are written */
function writing(
  words: readonly string[],
  failure?: Error,
  signal?: AbortSignal,
  onWord: (count: number) => void = () => {},
): ChatReply {
  return new ChatReply(async (emit, signal) => {
    let text = "";
    for (const word of words) {
      if (signal.aborted) break;
      emit({ type: "text", text: word, tokens: [], choice: 0 });
      text += word;
      onWord(text.length);
      await pause(5);
    }
    if (failure) throw failure;
    return { text, finishReason: signal.aborted ? "cancelled" : "stop" } as WholeReply;
  }, signal);
}

async function partsOf(reply: AsyncIterable<ReplyPart>): Promise<string[]> {
  const texts = [];
  for await (const { text } of reply) texts.push(text);
  return texts;
}

test("a reply is iterated for its parts, awaited for the whole, or both in any order", async () => {
  const words = ["a", "b", "c"];
  assert.deepEqual(await partsOf(writing(words)), words);
  assert.equal((await writing(words)).text, "abc");
  const reply = writing(words);
  assert.equal((await reply).text, "abc");
  assert.deepEqual(await partsOf(reply), words);
  assert.equal((await reply).text, "abc");
});

test("parts that were written together are handed out together", async () => {
  const part = (text: string): ReplyPart => ({ type: "text", text, tokens: [], choice: 0 });
  const reply = new ChatReply(async (emit) => {
    emit(part("a"));
    emit(part("b"));
    await pause(5);
    emit(part("c"));
    return { text: "abc" } as WholeReply;
  });
  const batches = [];
  for await (const parts of reply.batches()) batches.push(parts.map(({ text }) => text));
  assert.deepEqual(batches, [["a", "b"], ["c"]]);
  await assert.rejects(reply.batches().next(), TypeError);
});

test("parts are handed out once", async () => {
  const reply = writing(["a"]);
  await partsOf(reply);
  await assert.rejects(partsOf(reply), TypeError);
});

test("an error comes after the parts before it, and to who awaits", async () => {
  const failure = new Error("no");
  const reply = writing(["a", "b"], failure);
  const seen: string[] = [];
  await assert.rejects(async () => {
    for await (const { text } of reply) seen.push(text);
  }, failure);
  assert.deepEqual(seen, ["a", "b"]);
  await assert.rejects(reply, failure);
});

test("a reply that fails and that nobody reads does not end the process", async () => {
  writing([], new Error("unread"));
  await pause(20);
});

test("leaving the loop, cancel and the signal each end the reply with what it has", async () => {
  const words = Array.from({ length: 1000 }, () => "x");
  const left = writing(words);
  for await (const _ of left) break;
  const cancelled = writing(words, undefined, undefined, (count) => count === 3 && cancelled.cancel());
  const gone = new AbortController();
  const signalled = writing(words, undefined, gone.signal, (count) => count === 3 && gone.abort());
  for (const [reply, count] of [[left, 1], [cancelled, 3], [signalled, 3]] as const) {
    const { text, finishReason } = await reply;
    assert.equal(finishReason, "cancelled");
    assert.equal(text.length, count);
  }
  cancelled.cancel();
});

test("a reply is a promise to whoever takes promises", async () => {
  let ended = 0;
  const [first, second] = await Promise.all([writing(["a"]), writing(["b"]).finally(() => ended++)]);
  assert.equal(first.text + second.text, "ab");
  assert.equal(ended, 1);
  assert.equal(await writing([], new Error("no")).catch((error) => (error as Error).message), "no");
});

test("a stream gives the parts that a loop gives, and its end is that of the reply", async () => {
  const words = ["a", "b", "c"];
  const stream = writing(words).toReadableStream();
  assert(stream instanceof ReadableStream);
  assert.deepEqual(await partsOf(stream), words);
  const failure = new Error("no");
  const seen: string[] = [];
  await assert.rejects(async () => {
    for await (const { text } of writing(["a"], failure).toReadableStream()) seen.push(text);
  }, failure);
  assert.deepEqual(seen, ["a"]);
});

test("a stream and a loop share the parts: whoever comes second is refused", async () => {
  const reply = writing(["a"]);
  assert.deepEqual(await partsOf(reply.toReadableStream()), ["a"]);
  await assert.rejects(partsOf(reply.toReadableStream()), TypeError);
  await assert.rejects(partsOf(reply), TypeError);
});

test("a stream that is cancelled ends the reply, at once even if it waits for a part", async () => {
  const reply = new ChatReply((_, signal) =>
    new Promise((resolve) =>
      signal.addEventListener("abort", () => resolve({ finishReason: "cancelled" } as WholeReply))
    )
  );
  const reader = reply.toReadableStream().getReader();
  const next = reader.read();
  await reader.cancel();
  assert.equal((await next).done, true);
  assert.equal((await reply).finishReason, "cancelled");
});

test("a reply that a scope owns has ended when the scope has", async () => {
  let reply: ChatReply;
  let hasEnded = false;
  {
    await using owned = writing(Array.from({ length: 1000 }, () => "x"));
    owned.finally(() => hasEnded = true);
    reply = owned;
  }
  assert(hasEnded);
  assert.equal((await reply).finishReason, "cancelled");
  {
    await using _ = writing([], new Error("nobody asked"));
  }
});
