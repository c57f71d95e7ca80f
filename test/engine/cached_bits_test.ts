/**
 * Conversations on real networks: what the cache has of them, and that it changes no bit. Log-probabilities
 * of the likeliest tokens stand for all logits: none of their bits moves where a latent moves.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { EngineClient } from "../../src/engine/client.ts";
import type { OpenOptions, TokenEvent } from "../../src/engine/protocol.ts";
import { resolveSampling } from "../../src/engine/sampling_options.ts";
import { kernelLibrary } from "../backends.ts";
import { openGolden } from "../model/golden.ts";

const backends: OpenOptions["backend"][] = await kernelLibrary() ? ["reference", "cpu"] : ["reference"];
const cacheDtypes: OpenOptions["cacheDtype"][] = ["f32", "bf16", "f16", "int8"];
const nTurns = 3;
const seeds = [1, 2, 3];

/** A turn: the tokens of the reply with their log-probabilities, and how many of the prompt's were known. */
interface Turn {
  readonly events: TokenEvent[];
  readonly nPrompt: number;
  readonly cachedTokens: number;
}

async function withEngine<T>(options: Partial<OpenOptions>, use: (engine: EngineClient) => Promise<T>) {
  const folder = openGolden("v3bf16")!.folder;
  const engine = await EngineClient.open({ folder, contextLength: 512, ...options });
  try {
    return await use(engine);
  } finally {
    await engine.close({ drain: false });
  }
}

/** A conversation that only its seed decides. */
async function converse(
  engine: EngineClient,
  seed: number,
  between = () => Promise.resolve(),
): Promise<Turn[]> {
  const turns: Turn[] = [];
  let prompt = words(engine, seed, 70);
  for (let turn = 0; turn < nTurns; turn++) {
    const options = { maxTokens: 20, temperature: seed % 2, seed, topLogprobs: 4, ignoreEos: true };
    const generation = engine.generate(prompt, resolveSampling(options, engine.info));
    const events = (await Array.fromAsync(generation)).flat();
    const { cachedTokens } = await generation.finished;
    turns.push({ events, nPrompt: prompt.length, cachedTokens });
    prompt = [...prompt, ...events.map(({ token }) => token), ...words(engine, seed + turn, 9)];
    await between();
  }
  return turns;
}

function words({ info }: EngineClient, seed: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => 3 + (seed * 7919 + i * i * 31 + i) % (info.vocabSize - 3));
}

const eventsOf = (turns: readonly Turn[]) => turns.map(({ events }) => events);

for (const backend of backends) {
  for (const cacheDtype of backend === "cpu" ? cacheDtypes : ["int8"] as const) {
    test(`conversations on ${backend} in ${cacheDtype} know all of their past, and say bit for bit what they say without a cache`, async () => {
      const options = { backend, cacheDtype };
      const plain = await withEngine(
        { ...options, prefixCache: false },
        (engine) => Promise.all(seeds.map((seed) => converse(engine, seed))),
      );
      await withEngine({ ...options, chunkTokens: 33 }, async (engine) => {
        let nReplies = 0;
        const settled = async () => {
          nReplies++;
          while ((await engine.stats()).prefixCache.settledTokens < nReplies * 20);
        };
        // The first at once, the second when each reply is settled, the third once more, beside another.
        const found = [await converse(engine, 1)];
        nReplies = nTurns - 1;
        await settled(); // the last one
        found.push(await converse(engine, 2, settled));
        found.push((await Promise.all([converse(engine, 3), converse(engine, 2)]))[0]);
        assert.deepEqual(found.map(eventsOf), plain.map(eventsOf));
        for (const turns of found) {
          for (const [i, { cachedTokens }] of turns.entries()) {
            assert.equal(cachedTokens, i === 0 ? 0 : turns[i - 1].nPrompt + 20);
          }
        }
      });
    });
  }
}

{
  const backend = backends.at(-1)!;
  test(`eight conversations on ${backend} that are larger than the cache say what each says alone`, async () => {
    const all = [1, 2, 3, 4, 5, 6, 7, 8];
    const alone = await withEngine({ backend, prefixCache: false, maxSequences: 1 }, async (engine) => {
      const turns: Turn[][] = [];
      for (const seed of all) turns.push(await converse(engine, seed));
      return turns;
    });
    // 8 x 128 tokens, and room for 448 at most.
    const blockBytes = await withEngine({ backend }, ({ info }) => Promise.resolve(info.bytes.cache / 64));
    const small = { cacheBytes: 7 * blockBytes, contextLength: 256, maxSequences: 8, chunkTokens: 50 };
    await withEngine({ backend, ...small }, async (engine) => {
      const together = await Promise.all(all.map((seed) => converse(engine, seed)));
      assert.deepEqual(together.map(eventsOf), alone.map(eventsOf));
      const { cacheBlocks, prefixCache } = await engine.stats();
      assert.ok(cacheBlocks.total <= 7);
      assert.ok(prefixCache.evictedBlocks > 0);
    });
  });
}

for (const backend of backends) {
  test(`a conversation on ${backend} goes on from disk after a restart, bit for bit`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "hadal-restart-"));
    try {
      const options = { backend, cacheDtype: "bf16", contextLength: 256 } as const;
      const plain = await withEngine({ ...options, prefixCache: false }, (engine) => converse(engine, 1));
      const before = await withEngine({ ...options, cacheFolder: folder }, async (engine) => {
        const turns = await converse(engine, 1);
        while ((await engine.stats()).prefixCache.settledTokens < nTurns * 20);
        await engine.close();
        return turns;
      });
      const after = await withEngine({ ...options, cacheFolder: folder }, async (engine) => {
        const turns = await converse(engine, 1);
        const { disk } = (await engine.stats()).prefixCache;
        assert.ok(disk.readBlocks > 0 && disk.rejectedFiles + disk.errors === 0);
        return turns;
      });
      assert.deepEqual(eventsOf(before), eventsOf(plain));
      assert.deepEqual(eventsOf(after), eventsOf(plain));
      // The last turn was read once: what came before it is on disk up to the last token.
      assert.equal(after.at(-1)!.cachedTokens, after.at(-1)!.nPrompt - 1);
      const others = await withEngine(
        { ...options, cacheDtype: "f32", cacheFolder: folder },
        (engine) => converse(engine, 1),
      );
      assert.equal(others[0].cachedTokens, 0, "another number type is another cache");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
