/**
 * What hadal keeps on a disk and believes only when it is whole, for mutate.ts: conversations, blocks of the
 * prefix cache, and tokenizers that were read before.
 * @module
 */
import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blockTokens } from "../src/backend/backend.ts";
import { BlockFiles } from "../src/engine/block_files.ts";
import { readConversation, writeConversation } from "../src/engine/conversation_file.ts";
import { blockName, rootName } from "../src/engine/prefix_cache.ts";
import { readTokenizer } from "../src/tokenizer_cache.ts";
import type { Parser } from "./mutation.ts";

/** What a file holds that `write` makes in a folder. */
async function made(write: (folder: string) => string | Promise<string>): Promise<Uint8Array> {
  const folder = mkdtempSync(join(tmpdir(), "hadal-made-"));
  try {
    return new Uint8Array(readFileSync(await write(folder)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const blockBytes = 256;
const block = Uint8Array.from({ length: blockBytes }, (_, i) => i * 7);
const kind = { model: "a model", weights: "bf16", cache: "f32", computing: "here" };
const conversation = await made((folder) => {
  const path = join(folder, "talk");
  const tokens = Array.from({ length: 100 }, (_, i) => i * 31);
  const note = [{ role: "user", content: "Hi" }];
  writeConversation(path, { kind, tokens, nKept: 99, blockBytes, note }, [block, block]);
  return path;
});

/** Reads as `Conversations.restore` does. */
function readBack(bytes: Uint8Array, folder: string): void {
  const path = join(folder, "talk");
  writeFileSync(path, bytes);
  readConversation(path, kind, (head, next, check) => {
    const nBlocks = Math.ceil(head.nKept / blockTokens), into = new Uint8Array(1000);
    for (let left = nBlocks * head.blockBytes; left > 0; left -= into.length) {
      next(into.subarray(0, Math.min(left, into.length)));
    }
    check();
    assert.ok(head.tokens.every((token) => Number.isSafeInteger(token) && token >= 0));
  });
}

const name = blockName(rootName("a tenant"), Int32Array.of(1));
const blockFile = await made((folder) => {
  new BlockFiles(folder, 1e6, blockBytes, assert.fail).write(name, 5, block);
  return onlyFile(join(folder, "kv-blocks"));
});

function onlyFile(folder: string): string {
  const [file, ...others] = readdirSync(folder);
  assert.equal(others.length, 0);
  return join(folder, file);
}

const golden = new URL("../test/golden/v2lite/tokenizer.json", import.meta.url);
const tokenizerJson = new Uint8Array(Buffer.from(readFileSync(golden, "utf8") + " ".repeat(1 << 20)));
const tokenizers = await made(async (folder) => {
  await readTokenizer(tokenizerJson, null, "kept", folder);
  return onlyFile(join(folder, "tokenizers"));
});
const sample = "A text, 12345 字 and <｜User｜>\n\n  more.";
const expected = (await readTokenizer(tokenizerJson, null, "kept", null)).encode(sample);

/** By what is kept. */
export const keptParsers: Readonly<Record<string, Parser>> = {
  conversation: { seeds: [conversation], parse: (bytes, _, folder) => readBack(bytes, folder) },
  /** With the hash of what was changed: as somebody would write it who wants it to be read. */
  conversation_head: {
    kind: "json",
    seeds: [conversation.subarray(12, 12 + new DataView(conversation.buffer).getUint32(8, true))],
    parse(head, _, folder) {
      const rest = conversation.subarray(12 + this.seeds[0].length, -32);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(head.length);
      const bytes = Buffer.concat([conversation.subarray(0, 8), length, head, rest]);
      readBack(Buffer.concat([bytes, createHash("sha256").update(bytes).digest()]), folder);
    },
  },
  block_file: {
    seeds: [blockFile],
    parse(bytes, _, folder) {
      const files = new BlockFiles(folder, 1e6, blockBytes, assert.fail);
      const path = join(folder, "kv-blocks", `${Buffer.from(name, "base64").toString("hex")}.kv`);
      writeFileSync(path, bytes);
      const into = new Uint8Array(blockBytes);
      if (files.read(name, 5, into)) assert.deepEqual(into, block);
      else assert.ok(!existsSync(path));
    },
  },
  tokenizer_tables: {
    seeds: [tokenizers],
    async parse(bytes, _, folder) {
      await readTokenizer(tokenizerJson, null, "kept", folder);
      writeFileSync(onlyFile(join(folder, "tokenizers")), bytes);
      const tokenizer = await readTokenizer(tokenizerJson, null, "kept", folder);
      assert.deepEqual(tokenizer.encode(sample), expected);
    },
  },
};
