import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CheckpointError, UnsupportedError } from "../../src/errors.ts";
import { parseConfig, quantisationKeys } from "../../src/model/config.ts";
import { packedFormats } from "../../src/tensor/packed_format.ts";
import { file, refuses, v2lite, v3, yarn } from "./configs.ts";

test("fp8 in blocks of 128 is read, other quantisations are named as not supported", () => {
  const fp8 = {
    quant_method: "fp8",
    fmt: "e4m3",
    weight_block_size: [128, 128],
    activation_scheme: "dynamic",
  };
  const quantised = (changes: object) => ({ quantization_config: { ...fp8, ...changes } });
  assert.equal(parseConfig({ ...v3, ...quantised({}) }, file).quantisation, "fp8");
  for (const block of [[0, 0], [1, 3], [128], [128, 128, 128], [64, 64], null, undefined]) {
    refuses(
      quantised({ weight_block_size: block }),
      /weight_block_size is .*; supported: none, fp8/,
      UnsupportedError,
    );
  }
  for (const method of ["gptq", "awq", "compressed-tensors", undefined]) {
    refuses(
      quantised({ quant_method: method }),
      new RegExp(`quantization_config is "?${method ?? "missing"}.*supported`),
      UnsupportedError,
    );
  }
  refuses(quantised({ fmt: "e5m2" }), /fp8 "e5m2", not supported yet/, UnsupportedError);
  refuses({ quantization_config: 8 }, /quantization_config is 8, an object is needed/);
  refuses(quantised({ weight_block_size: "128" }), /quantization_config\.weight_block_size is "128"/);
});

test("hadal's own formats are read, and refused by name where they are others or contradict themselves", () => {
  const own = (changes: object) => ({
    quantization_config: { quant_method: "hadal", format: "int8", group: 32, ...changes },
  });
  const read = (changes: object) => parseConfig({ ...v3, ...own(changes) }, file).quantisation;
  for (const format of ["int8", "int4", "int3", "nf4"]) {
    assert.equal(read({ format }), format);
    assert.equal(read({ format, asymmetric: false }), format);
  }
  assert.equal(read({ format: "int4", asymmetric: true }), "int4a");
  for (const changes of [{ format: "int4a" }, { format: undefined }, { group: 64 }, { group: null }]) {
    refuses(
      own(changes),
      /is hadal .* with group .*; supported: format int8, int4, int3, nf4, group 32/,
      UnsupportedError,
    );
  }
  refuses(own({ asymmetric: true }), /hadal int8, which is never asymmetric: int4 alone may be/);
  refuses(own({ asymmetric: 1 }), /quantization_config\.asymmetric is 1/);
  refuses(own({ fmt: "e4m3" }), /hadal int8, its fmt "e4m3" belongs to fp8/);
  refuses(own({ weight_block_size: [128, 128] }), /its weight_block_size belongs to fp8/);
  refuses(own({ group: "32" }), /quantization_config\.group is "32"/);
});

test("what is written for a format is what is read for it", () => {
  for (const format of [...packedFormats, "fp8"] as const) {
    const quantization_config = quantisationKeys(format);
    assert.equal(parseConfig({ ...v3, quantization_config }, file).quantisation, format);
  }
});

test("an architecture that is not supported is named, with those that are", () => {
  for (
    const name of [
      "deepseek_v32",
      "deepseek_v4",
      "llama",
      "",
      undefined,
      null,
      3,
      {},
      "toString",
      "__proto__",
    ]
  ) {
    refuses(
      { model_type: name },
      /model_type is .*, supported: deepseek_v2, deepseek_v3, kimi_k2$/,
      UnsupportedError,
    );
  }
});

test("networks that the official code does not have are refused by the key that asks for them", () => {
  refuses({ hidden_act: "gelu" }, /hidden_act is "gelu", supported for deepseek_v3: silu/, UnsupportedError);
  refuses({ attention_bias: true }, /attention_bias is true/, UnsupportedError);
  refuses({ mlp_bias: true }, /mlp_bias is true/, UnsupportedError);
  refuses(
    { scoring_func: "softmax" },
    /scoring_func is "softmax", supported for deepseek_v3: sigmoid/,
    UnsupportedError,
  );
  refuses({ scoring_func: "sqrtsoftplus" }, /scoring_func/, UnsupportedError, v2lite);
  refuses(
    { topk_method: "greedy" },
    /topk_method is "greedy", supported for deepseek_v3: noaux_tc/,
    UnsupportedError,
  );
  refuses({ topk_method: "x".repeat(1e6) }, /topk_method is "x+\.\.\., supported/, UnsupportedError, v2lite);
});

test("what is no JSON object is refused", () => {
  for (const json of [null, undefined, [], "x", 3, true]) {
    assert.throws(
      () => parseConfig(json, file),
      /Cannot read folder\/config\.json: it is .*, a JSON object is needed$/,
    );
  }
});

test("every size is a whole number in its range", () => {
  const sizes = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "moe_intermediate_size",
    "moe_layer_freq",
    "q_lora_rank",
    "kv_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
    "num_experts_per_tok",
    "n_group",
    "topk_group",
    "max_position_embeddings",
  ];
  for (const key of sizes) {
    for (const value of [0, -1, 1.5, 2 ** 31, 2 ** 53, Infinity, NaN, "4", true, [4], {}]) {
      refuses(
        { [key]: value },
        new RegExp(
          `^Cannot read folder/config\\.json: ${key} is .*, a whole number from \\d to \\d+ is needed$`,
        ),
      );
    }
  }
  for (const key of ["kv_lora_rank", "hidden_size", "first_k_dense_replace"]) {
    refuses({ [key]: null }, new RegExp(`${key} is null`));
  }
  for (
    const key of [
      "n_shared_experts",
      "first_k_dense_replace",
      "num_nextn_predict_layers",
      "bos_token_id",
      "eos_token_id",
    ]
  ) {
    refuses({ [key]: -1 }, new RegExp(`${key} is -1`));
  }
});

test("a network without end is refused before anything walks through it", () => {
  refuses({ num_hidden_layers: 10_001 }, /num_hidden_layers is 10001, a whole number from 1 to 10000/);
  refuses({ n_routed_experts: 100_001 }, /n_routed_experts is 100001, a whole number from 0 to 100000/);
});

test("every factor is a finite number above zero", () => {
  for (const key of ["rms_norm_eps", "routed_scaling_factor", "rope_theta"]) {
    for (const value of [0, -1, NaN, Infinity, "1", null]) {
      refuses({ [key]: value }, new RegExp(`${key} is .*, a number above 0 is needed`));
    }
  }
  refuses({ rope_theta: 1 }, /rope_theta is 1, a number above 1 is needed/);
});

test("values that contradict each other are refused by name", () => {
  refuses({ n_routed_experts: 0 }, /n_routed_experts is 0/);
  refuses({ num_experts_per_tok: 9 }, /num_experts_per_tok is 9, more than n_routed_experts 8/);
  refuses({ num_experts_per_tok: null }, /num_experts_per_tok is missing/, CheckpointError, v2lite);
  refuses({ n_routed_experts: 10 }, /n_routed_experts is 10, no multiple of n_group 4/);
  refuses({ topk_group: 5 }, /topk_group is 5, more than n_group 4/);
  refuses({ topk_group: 1 }, /num_experts_per_tok is 3, its topk_group 1 groups hold 2/);
  refuses({ n_group: 8, topk_group: 8 }, /n_group is 8, each needs 2 of the n_routed_experts 8/);
  refuses({ first_k_dense_replace: 4 }, /first_k_dense_replace is 4, more than num_hidden_layers 3/);
  refuses({ qk_rope_head_dim: 15 }, /qk_rope_head_dim is 15, rotation needs an even number/);
  refuses({ eos_token_id: 512 }, /it names token 512, vocab_size is 512/);
  refuses({ eos_token_id: [1, 9999] }, /it names token 9999/);
  refuses({ bos_token_id: 600 }, /it names token 600/);
  refuses({ num_attention_heads: 2 ** 27 }, /num_attention_heads \* .* at most 2147483647 is possible/);
});

test("rope scaling that gives no rotation, or of another kind, is refused", () => {
  const scaled = (changes: object) => ({ rope_scaling: { ...yarn, ...changes } });
  for (const factor of [0, -1, NaN, Infinity, "40"]) {
    refuses(scaled({ factor }), /rope_scaling\.factor is .*, a number above 0/);
  }
  for (const type of ["linear", "dynamic", "longrope", "llama3", "", "toString"]) {
    refuses(scaled({ type }), /rope_type is ".*", supported: default, yarn/, UnsupportedError);
  }
  refuses(scaled({ original_max_position_embeddings: 0 }), /original_max_position_embeddings is 0/);
  refuses(scaled({ factor: 1e-300 }), /give no finite rotation/);
  refuses(scaled({ mscale: -1e300 }), /give no finite rotation/);
  refuses(
    scaled({ partial_rotary_factor: 0.5 }),
    /partial_rotary_factor is 0\.5, supported: 1/,
    UnsupportedError,
  );
  for (const value of [3, "yarn", [], true]) {
    refuses({ rope_scaling: value }, /rope_scaling is .*, a JSON object is needed/);
  }
});

test("any JSON for any key gives a config or one clear sentence", () => {
  const keys = [
    ...Object.keys(v3),
    "rope_scaling",
    "quantization_config",
    "tie_word_embeddings",
    "hidden_act",
  ];
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom(0, -1, 1e400, 2 ** 31, NaN, "yarn", [128, 128]),
  );
  const scaling = fc.record({
    type: fc.constantFrom("yarn", "default"),
    factor: value,
    mscale: value,
    mscale_all_dim: value,
  });
  const changes = fc.dictionary(fc.constantFrom(...keys), fc.oneof(value, scaling), { maxKeys: 2 });
  fc.assert(
    fc.property(changes, (changes) => {
      try {
        const { rope, attention } = parseConfig({ ...v3, ...changes }, file);
        assert.ok(rope.frequencies.every((frequency) => frequency >= 0 && frequency <= 1e30));
        assert.ok(attention.softmaxScale > 0 && Number.isFinite(attention.softmaxScale));
      } catch (error) {
        assert.ok(error instanceof CheckpointError || error instanceof UnsupportedError, `${error}`);
        assert.match(error.message, /^Cannot (read|use) folder\/config\.json: [^\n]{1,300}[^.]$/);
        assert.doesNotMatch(error.message, /Invalid|expected/);
      }
    }),
    { numRuns: 2000 },
  );
});
