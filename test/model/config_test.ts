import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { readSafetensors } from "../../src/checkpoint/safetensors.ts";
import { hasExperts, parseConfig } from "../../src/model/config.ts";
import { memoryFile } from "../checkpoint/write_safetensors.ts";
import { file, v2lite, v3, yarn } from "./configs.ts";

test("a V2 config becomes softmax routing without groups, normalisation or bias", () => {
  const config = parseConfig(v2lite, file);
  assert.deepEqual(config.routing, {
    nExperts: 8,
    nExpertsPerToken: 3,
    scoring: "softmax",
    nGroups: 1,
    nGroupsPerToken: 1,
    groupScore: "max",
    normalise: false, // though norm_topk_prob is true: the official V2 network ignores it
    scale: 1,
  });
  assert.equal(config.routerBias, false);
  assert.equal(config.qLoraRank, null);
  assert.equal(config.normEps, 1e-5);
  assert.equal(config.latentNormEps, 1e-6);
  assert.equal(config.attention.softmaxScale, 1 / Math.sqrt(32));
  assert.deepEqual([config.eosIds, config.bosId, config.quantisation, config.nMtpLayers], [
    [1],
    0,
    "none",
    0,
  ]);
});

test("greedy routing ignores groups, also groups that would not divide the experts", () => {
  const { routing } = parseConfig({ ...v2lite, n_group: 3, topk_group: 2 }, file);
  assert.deepEqual([routing!.nGroups, routing!.nGroupsPerToken], [1, 1]);
});

test("group-limited greedy routing scores a group by its best expert", () => {
  const { routing } = parseConfig(
    { ...v2lite, topk_method: "group_limited_greedy", n_group: 4, topk_group: 2, routed_scaling_factor: 16 },
    file,
  );
  assert.deepEqual(
    [routing!.nGroups, routing!.nGroupsPerToken, routing!.groupScore, routing!.scale],
    [4, 2, "max", 16],
  );
});

test("a V3 config becomes sigmoid routing with bias, groups by their two best, and a scale", () => {
  const config = parseConfig(v3, file);
  assert.deepEqual(config.routing, {
    nExperts: 8,
    nExpertsPerToken: 3,
    scoring: "sigmoid",
    nGroups: 4,
    nGroupsPerToken: 2,
    groupScore: "top2",
    normalise: true,
    scale: 2.5,
  });
  assert.deepEqual([config.routerBias, config.qLoraRank, config.nMtpLayers], [true, 24, 1]);
  assert.equal(parseConfig({ ...v3, norm_topk_prob: false }, file).routing!.normalise, false);
  assert.equal(parseConfig({ ...v3, model_type: "kimi_k2" }, file).architecture, "kimi_k2");
});

test("keys that are missing take the defaults of transformers", () => {
  const big = parseConfig({ model_type: "deepseek_v3" }, file);
  assert.deepEqual(
    [
      big.hidden,
      big.nLayers,
      big.vocabSize,
      big.firstMoeLayer,
      big.routing!.nExperts,
      big.routing!.nExpertsPerToken,
    ],
    [7168, 61, 129280, 3, 256, 8],
  );
  assert.deepEqual([big.routing!.nGroups, big.routing!.scale, big.maxPositions, big.normEps], [
    8,
    2.5,
    4096,
    1e-6,
  ]);
  const small = parseConfig({ model_type: "deepseek_v2", num_experts_per_tok: 6 }, file);
  assert.deepEqual(
    [
      small.hidden,
      small.nLayers,
      small.vocabSize,
      small.firstMoeLayer,
      small.nSharedExperts,
      small.qLoraRank,
    ],
    [4096, 32, 102400, 0, 2, 1536],
  );
  assert.deepEqual([small.eosIds, small.bosId, small.moeIntermediate, small.maxPositions], [
    [2],
    1,
    1407,
    2048,
  ]);
});

test("unknown keys and keys that name code to run are passed over", () => {
  const extra = {
    auto_map: { AutoModel: "evil.Model" },
    __proto__: null,
    torch_dtype: "float32",
    dtype: 3,
    head_dim: "x",
  };
  assert.deepEqual(parseConfig({ ...v3, ...extra }, file), parseConfig(v3, file));
  const hostile = JSON.parse(
    JSON.stringify(v3).slice(0, -1) + ',"__proto__":{"hidden_size":1},"constructor":0}',
  );
  assert.deepEqual(parseConfig(hostile, file), parseConfig(v3, file));
});

test("the number of key-value heads means nothing to latent attention", () => {
  assert.deepEqual(parseConfig({ ...v3, num_key_value_heads: 1 }, file), parseConfig(v3, file));
});

test("rope_parameters of transformers 5 mean the same as rope_scaling", () => {
  const { rope_theta: _, ...without } = v3;
  const old = parseConfig({ ...v3, rope_theta: 50000, rope_scaling: yarn, torch_dtype: "bfloat16" }, file);
  const parameters = { ...yarn, type: undefined, rope_type: "yarn", rope_theta: 50000 };
  assert.deepEqual(parseConfig({ ...without, rope_parameters: parameters, dtype: "bfloat16" }, file), old);
  assert.deepEqual(
    parseConfig({ ...v3, rope_scaling: null, rope_parameters: { rope_type: "default" } }, file),
    parseConfig(v3, file),
  );
});

test("pairs are interleaved unless rope_interleave is false", () => {
  assert.equal(parseConfig(v2lite, file).rope.interleaved, true);
  assert.equal(parseConfig({ ...v3, rope_interleave: null }, file).rope.interleaved, true);
  assert.equal(parseConfig({ ...v3, rope_interleave: false }, file).rope.interleaved, false);
});

test("layers with experts begin at first_k_dense_replace and follow moe_layer_freq", () => {
  const moeLayers = (changes: object) => {
    const config = parseConfig({ ...v3, num_hidden_layers: 6, ...changes }, file);
    return Array.from({ length: 6 }, (_, layer) => layer).filter((layer) => hasExperts(config, layer));
  };
  assert.deepEqual(moeLayers({}), [1, 2, 3, 4, 5]);
  assert.deepEqual(moeLayers({ moe_layer_freq: 2 }), [2, 4]);
  assert.deepEqual(moeLayers({ first_k_dense_replace: 0 }), [0, 1, 2, 3, 4, 5]);
  for (const dense of [{ first_k_dense_replace: 6 }, { n_routed_experts: null }, { moe_layer_freq: 9 }]) {
    assert.deepEqual(moeLayers(dense), []);
    assert.equal(parseConfig({ ...v3, num_hidden_layers: 6, ...dense }, file).routing, null);
  }
});

test("frequencies and factors of YaRN are those of the official network", () => {
  const goldens = new URL("../golden/numbers/", import.meta.url);
  const sets = JSON.parse(readFileSync(new URL("rope.json", goldens), "utf8"));
  const bytes = new Uint8Array(readFileSync(new URL("rope.safetensors", goldens)));
  const table = readSafetensors(memoryFile(bytes), "basic");
  assert.ok(Object.keys(sets).length >= 7);
  for (const [name, keys] of Object.entries<Record<string, number>>(sets)) {
    const config = parseConfig({ model_type: "deepseek_v3", ...keys }, file);
    const { offset, sizeBytes } = table.find((tensor) => tensor.name === `${name}.inv_freq`)!;
    const expected = new Int32Array(bytes.slice(offset, offset + sizeBytes).buffer);
    const actual = new Int32Array(new Float32Array(config.rope.frequencies).buffer);
    assert.equal(actual.length, expected.length);
    // One unit in the last place: torch's pow and JavaScript's round differently now and then.
    actual.forEach((bits, i) => assert.ok(Math.abs(bits - expected[i]) <= 1, `${name}, frequency ${i}`));
    assert.ok(Math.abs(config.rope.magnitude - keys.cos_sin_factor) < 1e-15, name);
    assert.ok(Math.abs(config.attention.softmaxScale - keys.softmax_scale) < 1e-15, name);
  }
});
