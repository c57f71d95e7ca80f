import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { fileURLToPath } from "node:url";
import { EngineClient } from "../../src/engine/client.ts";
import type { OpenOptions, Sampling } from "../../src/engine/protocol.ts";
import { resolveSampling, type SamplingOptions } from "../../src/engine/sampling_options.ts";
import { BusyError, CheckpointError, DeviceError, MemoryError, RequestError } from "../../src/errors.ts";
import { runtime } from "../../src/runtime.ts";
import { kernelLibrary } from "../backends.ts";
import { wordsToRun } from "../find_runtime.ts";
import { openGolden } from "../model/golden.ts";
import { writePoisoned } from "../poisoned_model.ts";
import { until } from "../until.ts";

const goldens = ["v2lite", "v3"].map(openGolden).filter((golden) => golden !== null);
const v2lite = goldens[0];
const backends: OpenOptions["backend"][] = await kernelLibrary() ? ["reference", "cpu"] : ["reference"];

const scratch = mkdtempSync(join(tmpdir(), "hadal-engine-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** Opens a model, and closes it after use. */
async function withEngine<T>(
  options: Partial<OpenOptions>,
  use: (engine: EngineClient) => Promise<T>,
): Promise<T> {
  const engine = await EngineClient.open({ folder: v2lite.folder, backend: "reference", ...options });
  try {
    return await use(engine);
  } finally {
    await engine.close({ drain: false });
  }
}

function greedy(engine: EngineClient, options: SamplingOptions = {}): Sampling {
  return resolveSampling({ maxTokens: 24, temperature: 0, ignoreEos: true, ...options }, engine.info);
}

/** What is to happen meanwhile happens before these tokens are there, however long this side is held up. */
const endless = (engine: EngineClient) => greedy(engine, { maxTokens: 1e6, contextOverflow: "shift" });

async function tokensOf(generation: AsyncIterable<readonly { token: number }[]>): Promise<number[]> {
  const tokens: number[] = [];
  for await (const events of generation) tokens.push(...events.map(({ token }) => token));
  return tokens;
}

for (const backend of backends) {
  for (const golden of goldens) {
    const { folder, prompts } = golden;
    const name = `${folder.split("/").at(-1)} on ${backend}`;

    test(`${name}: greedy tokens are the golden ones, alone and beside seven others`, async () => {
      await withEngine({ folder, backend }, async (engine) => {
        for (const { tokens, greedy: expected } of prompts) {
          assert.deepEqual(await tokensOf(engine.generate(tokens, greedy(engine))), expected);
        }
        const others = Array.from({ length: 7 }, (_, i) => {
          const prompt = prompts[i % 2].tokens.slice(i);
          return engine.generate(prompt, greedy(engine, { temperature: 1, seed: i, maxTokens: 5 * i + 1 }));
        });
        for (const { tokens, greedy: expected } of prompts) {
          assert.deepEqual(await tokensOf(engine.generate(tokens, greedy(engine))), expected);
        }
        await Promise.all(others.map(({ finished }) => finished));
      });
    });

    test(`${name}: neither small chunks nor a cache too small for all change a token`, async () => {
      const replies = (options: Partial<OpenOptions>) =>
        withEngine({ folder, backend, contextLength: 192, ...options }, async (engine) => {
          const tokens = await Promise.all([1, 2, 3, 4].map((seed) => {
            const sampling = greedy(engine, { temperature: 0.9, topP: 0.9, seed, maxTokens: 60 });
            return tokensOf(engine.generate(prompts[seed % 2].tokens, sampling));
          }));
          return { tokens, preemptions: (await engine.stats()).preemptions, info: engine.info };
        });
      const roomy = await replies({ maxSequences: 1 });
      assert.equal(roomy.preemptions, 0);
      const blockBytes = roomy.info.bytes.cache / 3;
      // Once more where the first reply had ended before the last request came.
      for (let preemptions = 0, tries = 0; preemptions === 0; tries++) {
        assert.ok(tries < 50, "nobody ever had to give way");
        const tight = await replies({ chunkTokens: 7, maxSequences: 4, cacheBytes: 4 * blockBytes });
        assert.deepEqual(tight.tokens, roomy.tokens);
        preemptions = tight.preemptions;
      }
    });

    test(`${name}: logits of a whole prompt equal the golden ones, and any chunk gives the same bits`, async () => {
      const [{ name: promptName, tokens }] = prompts;
      const expected = golden.floats(`${promptName}.logits`);
      let first: Float32Array | null = null;
      for (const chunkTokens of [512, 5]) {
        await withEngine({ folder, backend, chunkTokens }, async (engine) => {
          const logits = await engine.logits(tokens);
          first ??= logits;
          assert.deepEqual(logits, first);
        });
      }
      const range = expected.reduce((a, b) => Math.max(a, b)) - expected.reduce((a, b) => Math.min(a, b));
      const off = first!.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i])), 0);
      assert.ok(first!.length === expected.length && off <= 2e-4 * range, `${off} off, range ${range}`);
    });

    test(`${name}: an embedding is the normalised mean of the last hidden states`, async () => {
      const hidden = golden.floats("short.hidden.final_norm");
      const { tokens } = prompts[0];
      await withEngine({ folder, backend, chunkTokens: 5 }, async (engine) => {
        const embedding = await engine.embed(tokens);
        const width = engine.info.hidden;
        const mean = Array.from(
          { length: width },
          (_, i) => tokens.reduce((sum, _, row) => sum + hidden[row * width + i], 0) / tokens.length,
        );
        const length = Math.hypot(...mean);
        embedding.forEach((x, i) => assert.ok(Math.abs(x - mean[i] / length) < 1e-5));
      });
    });
  }
}

/** v2lite with NaN as the embedding of one token. @returns the folder and that token */
function poisoned(): { folder: string; token: number } {
  const folder = join(scratch, "poisoned");
  const token = 77;
  writePoisoned(folder, v2lite.folder, token);
  return { folder, token };
}

for (const backend of backends) {
  test(`a request that meets NaN weights on ${backend} fails, and the others do not notice`, async () => {
    const { folder, token } = poisoned();
    const [{ tokens, greedy: expected }] = v2lite.prompts;
    await withEngine({ folder, backend }, async (engine) => {
      const good = engine.generate(tokens, greedy(engine));
      const bad = engine.generate([...tokens, token], greedy(engine));
      const badLogits = engine.logits([...tokens, token]);
      const badEmbedding = engine.embed([...tokens, token]);
      await assert.rejects(bad.finished, DeviceError);
      await assert.rejects(badLogits, DeviceError);
      await assert.rejects(badEmbedding, DeviceError);
      await assert.rejects(tokensOf(bad), /NaN or infinity/);
      assert.deepEqual(await tokensOf(good), expected);
      assert.deepEqual(await tokensOf(engine.generate(tokens, greedy(engine))), expected);
      assert.equal((await engine.stats()).cacheBlocks.used, 0);
    });
  });
}

test("a prompt longer than the context is refused with both lengths", async () => {
  await withEngine({ contextLength: 50 }, async (engine) => {
    const error = await engine.generate(new Int32Array(50), greedy(engine)).finished.catch((thrown) =>
      thrown
    );
    assert.ok(error instanceof RequestError);
    assert.equal(error.name, "RequestError");
    assert.equal(error.status, 400);
    assert.equal(error.code, "context_length_exceeded");
    assert.deepEqual(error.detail, { n_prompt_tokens: 50, n_ctx: 50 });
  });
});

test("what is no token id is refused", async () => {
  await withEngine({}, async (engine) => {
    for (const wrong of [1.5, NaN, -1, 512, 2 ** 32, "7" as unknown as number]) {
      await assert.rejects(engine.generate([0, wrong], greedy(engine)).finished, RequestError);
      await assert.rejects(engine.logits([0, wrong]), RequestError);
    }
  });
});

test("a full queue answers with a BusyError that says when to try again", async () => {
  await withEngine({ maxSequences: 1, maxQueue: 1 }, async (engine) => {
    const [{ tokens }] = v2lite.prompts;
    const [running, waiting, third] = [1, 2, 3].map(() => engine.generate(tokens, endless(engine)));
    const error = await third.finished.catch((thrown) => thrown);
    assert.ok(error instanceof BusyError && error.retryAfterMs > 0);
    for (const one of [running, waiting]) {
      one.cancel();
      assert.equal((await one.finished).reason, "cancelled");
    }
  });
});

test("a reply is cancelled by its method, by a signal, and by leaving the loop", async () => {
  await withEngine({}, async (engine) => {
    const [{ tokens }] = v2lite.prompts;
    const long = endless(engine);
    const first = engine.generate(tokens, long);
    first.cancel();
    assert.equal((await first.finished).reason, "cancelled");

    const controller = new AbortController();
    const second = engine.generate(tokens, long, controller.signal);
    for await (const _ of second) controller.abort();
    assert.equal((await second.finished).reason, "cancelled");

    const third = engine.generate(tokens, long);
    for await (const _ of third) break;
    assert.equal((await third.finished).reason, "cancelled");

    const fourth = engine.generate(tokens, long, AbortSignal.abort());
    assert.equal((await fourth.finished).reason, "cancelled");

    const stopped = AbortSignal.abort(new Error("no longer wanted"));
    await assert.rejects(engine.logits(tokens, stopped), /no longer wanted/);

    const { requests, cacheBlocks } = await engine.stats();
    // What was aborted beforehand never came to the engine.
    assert.deepEqual([requests.running, requests.waiting, requests.cancelled], [0, 0, 3]);
    assert.equal(cacheBlocks.used, 0);
  });
});

test("while a reply is written, requests, statistics and a close are heard", async () => {
  await withEngine({}, async (engine) => {
    const [{ tokens, greedy: expected }] = v2lite.prompts;
    const long = engine.generate(tokens, endless(engine));
    const reading = tokensOf(long);
    for (let before = 0, round = 0; round < 3; round++) {
      assert.deepEqual(await tokensOf(engine.generate(tokens, greedy(engine))), expected);
      await engine.embed(tokens);
      const { steps, requests } = await engine.stats();
      assert.ok(steps > before && requests.running === 1, `${steps} steps, ${requests.running} requests`);
      before = steps;
    }
    await engine.close({ drain: false });
    assert.equal((await long.finished).reason, "cancelled");
    assert.ok((await reading).length > 0);
  });
});

test("a request with nonsense options fails alone", async () => {
  await withEngine({}, async (engine) => {
    const [{ tokens, greedy: expected }] = v2lite.prompts;
    const good = engine.generate(tokens, greedy(engine));
    const bad = [null, { ...greedy(engine), logitBias: null }, {
      ...greedy(engine),
      seed: 0.5,
      temperature: 1,
    }]
      .map((nonsense) => engine.generate(tokens, nonsense as unknown as Sampling));
    for (const { finished } of bad) await assert.rejects(finished);
    assert.deepEqual(await tokensOf(good), expected);
  });
});

test("when the Worker dies, everything pending and everything later fails", async (t) => {
  const workers = new Set<{ terminate(): unknown }>();
  for (const { prototype } of [Worker, globalThis.Worker] as { prototype: Worker }[]) {
    const { postMessage } = prototype;
    t.after(() => void (prototype.postMessage = postMessage));
    prototype.postMessage = function (this: Worker, ...message) {
      workers.add(this);
      return postMessage.apply(this, message);
    };
  }
  const engine = await EngineClient.open({ folder: v2lite.folder, backend: "reference" });
  const reply = engine.generate([0, 5], endless(engine));
  const rows = engine.logits(v2lite.prompts[0].tokens);
  assert.equal(workers.size, 1);
  for (const worker of workers) {
    void worker.terminate();
    // Of a Worker of the web Deno tells only what it died of, and this one was asked to.
    if (worker instanceof EventTarget && runtime.name === "deno") {
      worker.dispatchEvent(new ErrorEvent("error", { message: "Uncaught RangeError: its stack is full" }));
    }
  }
  await assert.rejects(tokensOf(reply), DeviceError);
  await assert.rejects(rows, DeviceError);
  await assert.rejects(engine.stats(), DeviceError);
  await engine.close();
});

test("closing lets accepted requests end, or cancels them, and refuses new ones", async () => {
  const [{ tokens, greedy: expected }] = v2lite.prompts;
  for (const drain of [true, false]) {
    const engine = await EngineClient.open({ folder: v2lite.folder, backend: "reference" });
    const reply = engine.generate(tokens, drain ? greedy(engine) : endless(engine));
    const closed = engine.close({ drain });
    await assert.rejects(engine.generate(tokens, greedy(engine)).finished, BusyError);
    await closed;
    assert.equal((await reply.finished).reason, drain ? "length" : "cancelled");
    if (drain) assert.deepEqual(await tokensOf(reply), expected);
    await engine.close();
    await assert.rejects(engine.stats(), BusyError);
  }
});

test("a close that drains can be cut short", async () => {
  const engine = await EngineClient.open({ folder: v2lite.folder, backend: "reference" });
  const reply = engine.generate([0, 5], endless(engine));
  const slow = engine.close();
  await engine.close({ drain: false });
  await slow;
  assert.equal((await reply.finished).reason, "cancelled");
});

test("statistics count what was done", async () => {
  await withEngine({}, async (engine) => {
    const [{ tokens }] = v2lite.prompts;
    await engine.generate(tokens, greedy(engine)).finished;
    const stats = await engine.stats();
    assert.deepEqual(stats.tokens, { prompt: tokens.length, generated: 24 });
    assert.equal(stats.steps, 24);
    assert.equal(stats.requests.finished, 1);
    assert.ok(stats.tokensPerSecond.generated > 0);
    assert.ok(stats.nowMs >= stats.lastStepMs);
    const [dense, experts] = stats.expertTokens;
    assert.deepEqual(dense, []);
    assert.ok(experts.reduce((sum, n) => sum + n, 0) > 0);
  });
});

test("what a folder lacks and what memory lacks is told by the error's class", async () => {
  const open = (options: Partial<OpenOptions> & { folder: string }) =>
    EngineClient.open({ backend: "reference", ...options });
  await assert.rejects(open({ folder: join(scratch, "nothing") }), CheckpointError);
  const folder = v2lite.folder;
  const tooSmall = await open({ folder, cacheBytes: 1000 }).catch((error) => error);
  assert.ok(tooSmall instanceof MemoryError);
  assert.equal(tooSmall.availableBytes, 1000);
  assert.ok(tooSmall.neededBytes > 1000);
  await assert.rejects(open({ folder, contextLength: 1e6 }), RangeError);
  const uncloneable = { folder, isa: (() => {}) as unknown as string };
  await assert.rejects(open(uncloneable));
});

test("loading can be given up before and while it goes on", async () => {
  const { folder } = v2lite;
  const reason = new Error("changed my mind");
  const options = { folder, backend: "reference" } as const;
  await assert.rejects(EngineClient.open(options, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const opening = EngineClient.open(options, {
    signal: controller.signal,
    onProgress: () => controller.abort(reason),
  });
  await assert.rejects(opening, reason);
});

/** What Linux says of the files that this process holds open or mapped. */
function heldFiles(): string {
  if (!existsSync("/proc/self/maps")) return "";
  const open = readdirSync("/proc/self/fd").map((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`);
    } catch {
      return ""; // it is closed by now
    }
  });
  return [readFileSync("/proc/self/maps", "utf8"), ...open].join("\n");
}

test("loading that is given up lets go of the model's files", async () => {
  const folder = join(scratch, "given_up");
  cpSync(v2lite.folder, folder, { recursive: true });
  for (const backend of backends) {
    for (const when of ["checkpoint", "backend", "weights"]) {
      const controller = new AbortController();
      const opening = EngineClient.open({ folder, backend }, {
        signal: controller.signal,
        onProgress: ({ stage }) => stage === when && controller.abort(new Error("enough")),
      });
      await assert.rejects(opening, { message: "enough" });
      await until(() => !heldFiles().includes(folder), `${backend} lets go of a model given up at ${when}`);
    }
  }
});

test("progress names each stage and ends at its total", async () => {
  const last = new Map<string, boolean>();
  const engine = await EngineClient.open({ folder: v2lite.folder, backend: "reference" }, {
    onProgress: ({ stage, done, total }) => last.set(stage, done === total),
  });
  await engine.close();
  assert.deepEqual([...last.keys()], ["checkpoint", "backend", "weights"]);
  assert.equal(last.get("weights"), true);
});

test("a program that does not close its model ends all the same", () => {
  const program = join(scratch, "program.ts");
  const client = new URL("../../src/engine/client.ts", import.meta.url).href;
  writeFileSync(
    program,
    `import { EngineClient } from ${JSON.stringify(client)};
    const engine = await EngineClient.open({ folder: ${
      JSON.stringify(v2lite.folder)
    }, backend: "reference" });
    console.log((await engine.embed([1, 2, 3])).length);`,
  );
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const args = runtime.name === "deno"
    ? [...wordsToRun(), "--config", join(root, "deno.json"), program]
    : [program];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    timeout: 100_000,
  });
  assert.equal(status, 0, stderr);
  assert.equal(stdout, "64\n");
});
