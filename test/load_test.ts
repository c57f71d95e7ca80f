import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  CheckpointError,
  DownloadError,
  load,
  MemoryError,
  type Progress,
  UnsupportedError,
} from "../mod.ts";
import { runProgram } from "./cli/run_hadal.ts";

const minnow = join(import.meta.dirname!, "../examples/minnow");
const reference = { backend: "reference" } as const;

/** A copy of minnow with some files left out or replaced, for as long as `use` runs. */
async function withFolder(files: Record<string, string | null>, use: (folder: string) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), "hadal-load-"));
  try {
    const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];
    for (const name of [...names, "tokenizer_config.json", "chat_template.jinja"]) {
      if (!(name in files) && !existsSync(join(minnow, name))) continue;
      const text = files[name];
      if (text === undefined) copyFileSync(join(minnow, name), join(folder, name));
      else if (text !== null) writeFileSync(join(folder, name), text);
    }
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a model is found by its folder and by its name, and tells what it is", async () => {
  for (const source of ["minnow", minnow]) {
    await using model = await load(source, { ...reference, contextLength: 256, maxSequences: 2 });
    const { name, architecture, backend, contextLength, maxSequences, vocabSize, bytes } = model.info;
    assert.deepEqual(
      { name, architecture, backend, contextLength, maxSequences, vocabSize },
      {
        name: "minnow",
        architecture: "deepseek_v3",
        backend: "reference",
        contextLength: 256,
        maxSequences: 2,
        vocabSize: 4096,
      },
    );
    assert(bytes.weights > 10e6 && bytes.cache > 0);
  }
});

test("progress is told by stages that begin and end", async () => {
  const seen: Progress[] = [];
  const model = await load("minnow", { ...reference, onProgress: (progress) => seen.push(progress) });
  await model.close();
  const weights = seen.filter(({ stage }) => stage === "weights");
  assert.equal(weights[0].done, 0);
  assert.equal(weights.at(-1)!.done, weights.at(-1)!.total);
  assert(seen.every(({ done, total }) => done >= 0 && done <= total));
});

test("the cache is as large as it is told to be", async () => {
  const of = async (memory: string | number) => {
    await using model = await load("minnow", { ...reference, kvCache: { dtype: "f32", memory } });
    return model.info.bytes.cache;
  };
  assert.equal(await of("1 MiB"), await of(2 ** 20));
  assert(await of("1 MiB") <= 2 ** 20);
  await assert.rejects(load("minnow", { ...reference, kvCache: { memory: 100 } }), MemoryError);
});

test("an option that is not known, or of the wrong kind, is refused by name", async () => {
  const wrong: [object, RegExp][] = [
    [{ bakend: "cpu" }, /option bakend: known are backend, /],
    [{ kvCache: { size: 1 } }, /option kvCache\.size: known are dtype, memory/],
    [{ kvCache: { memory: "lots" } }, /option kvCache\.memory: "lots" found/],
    [{ kvCache: { dtype: "f64" } }, /option kvCache\.dtype/],
    [
      { prefixCache: { folder: 1 } },
      /option prefixCache: true, false, or an object with folder and maxBytes/,
    ],
    [{ prefixCache: { maxBytes: 5 } }, /option prefixCache: true, false, or/],
    [{ prefixCache: { folder: "/tmp/x", maxBytes: "lots" } }, /option prefixCache\.maxBytes: "lots" found/],
    [{ backend: "abacus" }, /option backend.*"reference"/],
    [{ threads: 0 }, /option threads/],
    [{ contextLength: 1.5 }, /option contextLength/],
    [{ onProgress: 1 }, /option onProgress: a function is needed/],
    [{ signal: 1 }, /option signal/],
  ];
  for (const [options, message] of wrong) {
    await assert.rejects(load("minnow", options), (error) => {
      assert(error instanceof TypeError);
      assert.match(error.message, message);
      return true;
    });
  }
});

test("a source that is no model is told from one that is not supported", async () => {
  await assert.rejects(load("/no/such/folder"), CheckpointError);
  await assert.rejects(load(join(minnow, "config.json")), CheckpointError);
  const hub = { offline: true, cache: "/no/such/cache" };
  await assert.rejects(load("deepseek-ai/DeepSeek-V2-Lite", { hub }), DownloadError);
  await assert.rejects(load("model.gguf"), CheckpointError);
  await withFolder({ "config.json": null }, async (folder) => {
    await assert.rejects(load(folder, reference), CheckpointError);
  });
  await withFolder({ "config.json": '{"model_type": "llama"}' }, async (folder) => {
    await assert.rejects(load(folder, reference), UnsupportedError);
  });
});

test("files beside the weights are checked too", async () => {
  for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]) {
    await withFolder({ [name]: "{" }, async (folder) => {
      await assert.rejects(load(folder, reference), CheckpointError, name);
    });
  }
});

test("a folder without tokenizer loads: token ids work, text is refused in one sentence", async () => {
  await withFolder({ "tokenizer.json": null }, async (folder) => {
    await using model = await load(folder, reference);
    const { tokens, text } = await model.complete([0, 420, 299], { maxTokens: 4, temperature: 0 });
    assert.equal(tokens.length, 4);
    assert.equal(text, "");
    assert.equal((await model.logits([0, 1])).length, 2 * 4096);
    const refused = { name: "UnsupportedError", message: /no tokenizer\.json$/ };
    await assert.rejects(model.chat([{ role: "user", content: "Hi" }]), refused);
    await assert.rejects(model.complete("Hi"), refused);
    await assert.rejects(model.complete([0], { stop: "x" }), refused);
    await assert.rejects(model.embed("Hi"), refused);
    assert.throws(() => model.tokenizer, refused);
  });
});

test("a model without chat template completes, and says that it cannot chat", async () => {
  await withFolder({ "tokenizer_config.json": "{}" }, async (folder) => {
    await using model = await load(folder, reference);
    assert((await model.complete("Once upon", { maxTokens: 4, temperature: 0 })).text.length > 0);
    await assert.rejects(model.chat([{ role: "user", content: "Hi" }]), { message: /no chat template/ });
  });
});

test("a chat template in a file of its own counts more than the one in tokenizer_config.json", async () => {
  const jinja = "{{ bos_token }}{% for m in messages %}{{ m.content }}!{% endfor %}";
  await withFolder({ "chat_template.jinja": jinja }, async (folder) => {
    await using model = await load(folder, reference);
    const { usage } = await model.chat([{ role: "user", content: "Hi" }], { maxTokens: 1 });
    assert.equal(usage.promptTokens, 1 + model.tokenizer.encode("Hi!").length);
  });
});

test("the makers' sampling is the default, and the caller's word counts more", async () => {
  await withFolder({ "generation_config.json": '{"do_sample": false}' }, async (folder) => {
    await using model = await load(folder, reference);
    const prompt = "Once upon a time";
    const [a, b] = await Promise.all([
      model.complete(prompt, { maxTokens: 16 }),
      model.complete(prompt, { maxTokens: 16 }),
    ]);
    assert.equal(a.text, b.text, "greedy as generation_config.json says");
    const [c, d] = await Promise.all(
      [1, 2].map((seed) => model.complete(prompt, { maxTokens: 16, temperature: 1.5, seed })),
    );
    assert.notEqual(c.text, d.text);
  });
});

test("what ends loading while texts are read is caught where load was called, and the program goes on", async () => {
  const { code, stdout, stderr } = await runProgram("test/load_given_up.ts", []);
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: "enough\n", stderr: "" });
});

test("loading is given up when the signal aborts", async () => {
  await assert.rejects(load("minnow", { ...reference, signal: AbortSignal.abort(new Error("enough")) }), {
    message: "enough",
  });
  const giveUp = new AbortController();
  const loading = load("minnow", { ...reference, signal: giveUp.signal, onProgress: () => giveUp.abort() });
  await assert.rejects(loading, { name: "AbortError" });
});
