import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { folderTables, readTables } from "../../src/checkpoint/tables.ts";
import { CheckpointError } from "../../src/errors.ts";
import { inferConfig } from "../../src/model/infer_config.ts";
import { inspect } from "../../src/model/inspect.ts";
import { architectures } from "./golden.ts";
import { tensorTable, v2Lite, v3 } from "./tensor_table.ts";

const own = fileURLToPath(new URL("../golden/", import.meta.url));
const shared = fileURLToPath(new URL("../../../shared/fixtures/", import.meta.url));

test("a published model is told by its numbers, and no weight is read", () => {
  const lite = inspect({ name: "lite", config: undefined, tensors: tensorTable(v2Lite) });
  assert.deepEqual(lite.problems, []);
  // The model card says 15.7B and 2.4B; the second counts neither embedding nor head, which is 0.2B.
  assert.equal(lite.parameters!.total, 15_706_484_224);
  assert.ok(Math.abs(lite.parameters!.active - 2.45e9) < 0.05e9, `${lite.parameters!.active}`);
  assert.equal(lite.stored.bytes, 2 * lite.parameters!.total);
  assert.deepEqual(lite.stored.byType, { BF16: lite.stored.bytes });
  const { f32, bf16, int8, int4, int3 } = lite.formats!;
  assert.ok(f32! > 1.9 * bf16! && bf16! > int8! && int8! > int4! && int4! > int3!);

  const large = inspect({ name: "v3", config: undefined, tensors: tensorTable(v3) });
  assert.deepEqual(large.problems, []);
  assert.equal(Math.round(large.parameters!.total / 1e9), 671);
  assert.equal(Math.round(large.parameters!.active / 1e9), 37);
  const { alwaysBytes, expertsBytes } = large.reads!;
  const active = alwaysBytes + expertsBytes * 8 / 256;
  assert.ok(
    Math.abs(active / (2 * large.parameters!.active) - 1) < 0.001,
    "bytes read are those of active parameters",
  );
});

test("what is missing or of another shape is listed, and the rest is told all the same", () => {
  const tensors = tensorTable(v2Lite);
  const config = { model_type: "deepseek_v2", ...v2Lite, num_experts_per_tok: 6 };
  const whole = inspect({ name: "lite", config, tensors });
  tensors.delete("model.layers.3.mlp.experts.7.up_proj.weight");
  tensors.delete("model.norm.weight");
  const norm = tensors.get("model.layers.2.self_attn.kv_a_layernorm.weight")!;
  tensors.set(norm.name, { ...norm, shape: [511] });
  tensors.set("extra", { ...norm, name: "extra", sizeBytes: 10 });
  const damaged = inspect({ name: "lite", config, tensors });
  assert.equal(damaged.problems.length, 3);
  assert.match(
    damaged.problems[0],
    /kv_a_layernorm\.weight has shape \[511\], config\.json asks for \[512\]/,
  );
  assert.match(
    damaged.problems[1],
    /experts\.7\.up_proj\.weight is missing, config\.json asks for \[1408,2048\]/,
  );
  assert.match(damaged.problems[2], /model\.norm\.weight is missing/);
  assert.deepEqual(damaged.parameters, whole.parameters);
  assert.deepEqual(damaged.loaded, whole.loaded);
  assert.deepEqual([damaged.unused.tensors, damaged.unused.bytes], [1, 10]);

  const empty = inspect({ name: "lite", config, tensors: new Map() });
  assert.equal(empty.problems.length, 22, "twenty, that there are more, and the last");
  assert.deepEqual(empty.parameters, whole.parameters);
});

test("a configuration that cannot be used is a problem, not a failure", () => {
  const tensors = tensorTable(v2Lite);
  for (
    const [config, message] of [
      [{ model_type: "llama" }, /model_type is "llama"/],
      [{ model_type: "deepseek_v2", hidden_size: 0 }, /hidden_size is 0/],
      [[], /JSON object is needed/],
      [null, /JSON object is needed/],
      [
        { model_type: "deepseek_v3", hidden_size: 2 ** 31 - 1, vocab_size: 2 ** 31 - 1 },
        /is 4611686014132420609|config\.json asks for/,
      ],
    ] as const
  ) {
    const { problems, stored, architecture } = inspect({ name: "x", config, tensors });
    assert.match(problems[0], message);
    assert.equal(stored.tensors, tensors.size);
    assert.ok(architecture === null || architecture === "deepseek_v3");
  }
});

test("shapes alone give the configuration of every architecture, as far as shapes tell", async () => {
  let nTried = 0;
  for (const name of architectures) {
    const folder = [own, shared].map((place) => place + name).find((place) => existsSync(place));
    if (folder === undefined) continue;
    const { tensors } = await readTables(folderTables(folder));
    const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
    const { config: inferred, proved, assumed, like } = inferConfig(tensors, folder);
    for (const key of proved.filter((key) => key !== "quantization_config" && key in config)) {
      assert.deepEqual(inferred[key], config[key], `${name}: ${key}`);
    }
    assert.equal("quantization_config" in inferred, "quantization_config" in config);
    assert.ok(proved.length >= 15 && assumed.includes("rope_theta") && !assumed.includes("hidden_size"));
    assert.equal(like, null);
    assert.deepEqual(inspect({ name: folder, config: undefined, tensors }).problems, []);
    nTried++;
  }
  assert.ok(nTried >= 2);
});

test("shapes of checkpoints that nobody publishes give theirs, also where matrices are bytes with factors", async () => {
  const folders = [...readdirSync(`${own}shapes`).map((name) => `shapes/${name}`), "coded/bnb_int8"];
  for (const name of [...folders, "coded/ct_int8", "coded/ct_fp8"]) {
    const folder = own + name;
    const { tensors } = await readTables(folderTables(folder));
    const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
    const { inferred, problems } = inspect({ name: folder, config: undefined, tensors });
    assert.deepEqual(problems, [], name);
    for (const key of inferred!.proved.filter((key) => key in config && key !== "quantization_config")) {
      assert.deepEqual(inferred!.config[key], config[key], `${name}: ${key}`);
    }
    const method = (json: Readonly<Record<string, unknown>>) =>
      (json.quantization_config as { quant_method?: string } | undefined)?.quant_method;
    assert.equal(method(inferred!.config), method(config), name);
    // How experts are chosen no shape tells, and so it is never among what is proved.
    assert.ok(inferred!.assumed.includes("num_experts_per_tok") && inferred!.assumed.includes("n_group"));
  }
  for (const [name, how] of [["gptq_8", "GPTQ or AWQ"], ["ct_8_16", "compressed-tensors"]]) {
    const { tensors } = await readTables(folderTables(`${own}coded/${name}`));
    const { problems } = inspect({ name, config: undefined, tensors });
    assert.match(problems[0], new RegExp(`packed by ${how} .*, which only config\\.json says how to read$`));
  }
});

test("a model of published sizes is taken for that model, in what shapes do not tell", () => {
  const lite = inferConfig(tensorTable(v2Lite), "lite");
  assert.equal(lite.like, "DeepSeek-V2-Lite");
  assert.equal(lite.config.num_experts_per_tok, 6);
  const large = inferConfig(tensorTable(v3), "v3");
  assert.equal(large.like, "DeepSeek-V3");
  assert.deepEqual([large.config.n_group, large.config.topk_group], [8, 4]);
  const { vocab_size: _, ...rest } = v3;
  assert.equal(inferConfig(tensorTable({ ...rest, vocab_size: 1000 }), "v3").like, null);
});

test("experts in every second layer, a tied head and no experts at all are inferred", () => {
  const tensors = tensorTable({ ...v2Lite, num_hidden_layers: 8, first_k_dense_replace: 2 });
  for (const layer of [3, 5, 7]) {
    const prefix = `model.layers.${layer}.mlp`;
    for (const name of [...tensors.keys()].filter((name) => name.startsWith(`${prefix}.`))) {
      tensors.delete(name);
    }
    for (const part of ["gate_proj", "up_proj", "down_proj"]) {
      const like = tensors.get(`model.layers.0.mlp.${part}.weight`)!;
      tensors.set(`${prefix}.${part}.weight`, { ...like, name: `${prefix}.${part}.weight` });
    }
  }
  tensors.delete("lm_head.weight");
  const { config } = inferConfig(tensors, "x");
  assert.deepEqual([config.first_k_dense_replace, config.moe_layer_freq, config.tie_word_embeddings], [
    2,
    2,
    true,
  ]);
  assert.deepEqual(inspect({ name: "x", config: undefined, tensors }).problems, []);

  const dense = tensorTable({ ...v2Lite, num_hidden_layers: 2, first_k_dense_replace: 2 });
  assert.deepEqual(inspect({ name: "x", config: undefined, tensors: dense }).problems, []);
});

test("weights that tell no configuration are refused with what is missing", () => {
  const cases: [string, RegExp][] = [
    ["model.embed_tokens.weight", /no tensor model\.embed_tokens\.weight to infer one from/],
    ["model.layers.0.self_attn.kv_b_proj.weight", /no tensor .*kv_b_proj/],
  ];
  for (const [name, message] of cases) {
    const tensors = tensorTable(v2Lite);
    tensors.delete(name);
    assert.throws(
      () => inferConfig(tensors, "x"),
      (error) => error instanceof CheckpointError && message.test(error.message),
    );
  }
  const tensors = tensorTable(v2Lite);
  const output = tensors.get("model.layers.0.self_attn.o_proj.weight")!;
  tensors.set(output.name, { ...output, shape: [2048, 2047] });
  assert.throws(() => inferConfig(tensors, "x"), /which no number of heads gives/);
  const embedding = tensors.get("model.embed_tokens.weight")!;
  tensors.set(embedding.name, { ...embedding, dtype: "U8" });
  assert.throws(() => inferConfig(tensors, "x"), /packed weights such as model\.embed_tokens\.weight/);
});
