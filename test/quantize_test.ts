import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { StoredTensor } from "../src/checkpoint/checkpoint.ts";
import { applyBlockScales, decode, type FloatDtype } from "../src/checkpoint/decode.ts";
import { openCheckpoint } from "../src/checkpoint/open.ts";
import { keepable, type KeepablePart } from "../src/model/quantized_tensors.ts";
import { dtypeBits } from "../src/tensor/dtype.ts";
import { packedShape } from "../src/tensor/packed_format.ts";
import { roundToBf16 } from "../src/tensor/round.ts";
import { openGolden, openNetwork } from "./model/golden.ts";
import {
  assertSameBits,
  backends,
  copyOf,
  cpus,
  fastPacker,
  formats,
  logitsOf,
  minnow,
  quantize,
  source,
} from "./quantized.ts";
import { withPlace } from "./with_place.ts";

const parts = Object.keys(keepable) as KeepablePart[];

for (const architecture of ["v3bf16", "v2lite", "v3fp8"] as const) {
  const golden = openGolden(architecture);
  if (!golden) continue;
  const { folder, prompts } = golden;
  const { tokens } = prompts[0];
  const stored = { v3bf16: "bf16", v2lite: "none", v3fp8: "fp8" }[architecture];

  for (const format of formats) {
    if (format === stored) continue;
    test(`${architecture} written in ${format} says what ${format} made at load says`, async () => {
      await withPlace(async (place) => {
        await quantize(folder, `${place}/out`, { format });
        let reference: Float32Array | null = null;
        for (const { name, open } of backends) {
          const backend = await open();
          try {
            const expected = logitsOf(openNetwork(folder, backend, format), tokens);
            for (const asked of ["auto", format] as const) {
              const found = logitsOf(openNetwork(`${place}/out`, backend, asked), tokens);
              assertSameBits(found, expected, `${name}, ${asked}`);
            }
            reference ??= expected;
            if (!name.includes("int8 activations")) assertNear(expected, reference, name);
          } finally {
            backend.close();
          }
        }
      });
    });

    test(`${architecture} in ${format} has the same bytes whoever packs it`, async () => {
      await withPlace(async (place) => {
        await quantize(folder, `${place}/plain`, { format });
        for (const [i, { name, open }] of cpus.entries()) {
          const backend = await open();
          await quantize(folder, join(place, String(i)), { format, packer: backend });
          backend.close();
          for (const file of readdirSync(`${place}/plain`)) {
            const [expected, found] = ["plain", String(i)].map((run) => readFileSync(join(place, run, file)));
            assert(expected.equals(found), `${name}: ${file}`);
          }
        }
      });
    });
  }

  test(`${architecture} with every part kept gives bitwise the logits of its source`, async () => {
    await withPlace(async (place) => {
      await quantize(folder, `${place}/kept`, { keep: parts });
      for (const { name, open } of backends) {
        const backend = await open();
        try {
          const [expected, found] = [folder, `${place}/kept`].map((path) =>
            logitsOf(openNetwork(path, backend), tokens)
          );
          assertSameBits(found, expected, name);
        } finally {
          backend.close();
        }
      }
    });
  });

  test(`${architecture} loads with any one part kept`, async () => {
    await withPlace(async (place) => {
      for (const part of parts) {
        await quantize(folder, join(place, part), { format: "int4", keep: [part] });
        for (const { name, open } of backends) {
          const backend = await open();
          try {
            const logits = logitsOf(openNetwork(join(place, part), backend), tokens);
            assert(logits.every(Number.isFinite), `${part} on ${name}`);
          } finally {
            backend.close();
          }
        }
      }
    });
  });
}

test("bf16 is a plain checkpoint: no word of a quantisation, each value the nearest", async () => {
  await withPlace(async (place) => {
    await quantize(minnow, `${place}/bf16`, { format: "bf16", packer: await fastPacker() });
    const config = JSON.parse(readFileSync(`${place}/bf16/config.json`, "utf8"));
    assert.equal(config.quantization_config, undefined);
    assert.equal(config.torch_dtype, "bfloat16");
    const before = openCheckpoint(minnow), after = openCheckpoint(`${place}/bf16`, "full");
    try {
      const names = [...before.tensors.keys()].filter((name) => !name.endsWith("_scale_inv"));
      assert.deepEqual([...after.tensors.keys()].sort(), names.sort());
      for (const name of names) {
        const old = before.tensors.get(name)!, tensor = after.tensors.get(name)!;
        assert.deepEqual(tensor.shape, old.shape, name);
        assert(["BF16", "F32"].includes(tensor.dtype), `${name} is ${tensor.dtype}`);
        if (old.dtype !== "F8_E4M3") continue;
        const expected = valuesOf(before, old).map(roundToBf16);
        assertSameBits(valuesOf(after, tensor), expected, name);
      }
    } finally {
      before.close();
      after.close();
    }
  });
});

test("what other programs begin with comes along: modules, templates, and the word that a file is torch's", async () => {
  await withPlace(async (place) => {
    const from = copyOf(source, `${place}/source`, { auto_map: { AutoConfig: "configuration_x.XConfig" } });
    const texts = { "configuration_x.py": "class XConfig: pass\n", "chat_template.jinja": "{{ messages }}" };
    for (const [name, text] of Object.entries(texts)) writeFileSync(join(from, name), text);
    writeFileSync(join(from, "notes.txt"), "not of the model");
    await quantize(from, `${place}/fp8`, { format: "fp8" });
    for (const [name, text] of Object.entries(texts)) {
      assert.equal(readFileSync(join(place, "fp8", name), "utf8"), text);
    }
    const names = readdirSync(`${place}/fp8`);
    assert(!names.includes("notes.txt"));
    for (const name of names.filter((name) => name.endsWith(".safetensors"))) {
      const bytes = readFileSync(join(place, "fp8", name));
      const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString();
      assert.deepEqual(JSON.parse(header).__metadata__, { format: "pt" });
    }
  });
});

test("fp8 lies and is told as in DeepSeek's own files: factors for blocks, the head as it was", async () => {
  await withPlace(async (place) => {
    await quantize(source, `${place}/fp8`, { format: "fp8" });
    const config = JSON.parse(readFileSync(`${place}/fp8/config.json`, "utf8"));
    assert.deepEqual(config.quantization_config, {
      quant_method: "fp8",
      fmt: "e4m3",
      weight_block_size: [128, 128],
      activation_scheme: "dynamic",
    });
    const before = openCheckpoint(source), after = openCheckpoint(`${place}/fp8`, "full");
    try {
      for (const [name, { dtype, shape }] of after.tensors) {
        if (name.endsWith("_scale_inv")) continue;
        const old = before.tensors.get(name)!;
        assert.deepEqual(shape, old.shape, name);
        const isMatrix = /_proj(_with_mqa)?\.weight$/.test(name);
        assert.equal(dtype, isMatrix ? "F8_E4M3" : old.dtype, name);
        if (!isMatrix) continue;
        const { dtype: scaleDtype, shape: blocks } = after.tensors.get(`${name}_scale_inv`)!;
        assert.deepEqual([scaleDtype, blocks], ["F32", shape.map((size) => Math.ceil(size / 128))]);
        const found = valuesOf(after, after.tensors.get(name)!), expected = valuesOf(before, old);
        const largest = Math.max(...expected.map(Math.abs));
        // Half a step: 1/16 of a value, or of the smallest ordinary one.
        expected.forEach((value, i) => {
          const allowed = Math.max(Math.abs(value), largest / 448 / 64) / 16 * 1.001;
          assert(Math.abs(found[i] - value) <= allowed, `${name}: ${found[i]} for ${value}`);
        });
      }
    } finally {
      before.close();
      after.close();
    }
    await quantize(source, `${place}/kept`, { format: "fp8", keep: ["shared"] });
    const { quantization_config: kept } = JSON.parse(readFileSync(`${place}/kept/config.json`, "utf8"));
    const [name] = kept.modules_to_not_convert;
    assert.match(name, /^model\.layers\.\d+\.mlp\.shared_experts\.gate_proj$/);
    assert(kept.modules_to_not_convert.every((name: string) => name.includes("shared_experts")));
  });
});

test("fp8 made bf16 and fp8 again is the same, tensor for tensor", async () => {
  await withPlace(async (place) => {
    const packer = await fastPacker();
    await quantize(minnow, `${place}/bf16`, { format: "bf16", packer });
    await quantize(`${place}/bf16`, `${place}/fp8`, { format: "fp8", packer });
    const [first, second] = [minnow, `${place}/fp8`].map((folder) => openCheckpoint(folder));
    try {
      assert.deepEqual([...second.tensors.keys()].sort(), [...first.tensors.keys()].sort());
      for (const [name, tensor] of first.tensors) {
        const again = second.tensors.get(name)!;
        assert.deepEqual([again.dtype, again.shape], [tensor.dtype, tensor.shape], name);
        assert.deepEqual(second.read(again), first.read(tensor), name);
      }
      assert.deepEqual(second.config, { ...first.config as object, torch_dtype: "bfloat16" });
    } finally {
      first.close();
      second.close();
    }
  });
});

test("layers for multi-token prediction get the format too", async () => {
  await withPlace(async (place) => {
    const packer = await fastPacker();
    for (const format of ["int4", "bf16"] as const) {
      await quantize(minnow, join(place, format), { format, packer });
      const checkpoint = openCheckpoint(join(place, format));
      try {
        const mtp = [...checkpoint.tensors.values()].filter(({ name }) => name.startsWith("model.layers.5."));
        const matrices = mtp.filter(({ name }) => /_proj(_with_mqa)?\.weight$/.test(name));
        assert(matrices.length > 24, `${matrices.length} matrices`);
        for (const { name, dtype } of matrices) assert.equal(dtype, format === "bf16" ? "BF16" : "U8", name);
        assert(mtp.every(({ name, dtype }) => dtype !== "F8_E4M3" && !name.endsWith("_scale_inv")));
      } finally {
        checkpoint.close();
      }
    }
  });
});

test("a head that is the embedding becomes an int8 matrix of its own", async () => {
  await withPlace(async (place) => {
    const tied = copyOf(source, join(place, "tied"), { tie_word_embeddings: true });
    await quantize(tied, `${place}/int8`);
    await quantize(tied, `${place}/kept`, { keep: parts });
    const tokens = Int32Array.of(1, 2, 3);
    for (const { name, open } of backends) {
      const backend = await open();
      try {
        const [before, kept] = [tied, `${place}/kept`].map((path) =>
          logitsOf(openNetwork(path, backend), tokens)
        );
        assertSameBits(kept, before, name);
        const expected = logitsOf(openNetwork(tied, backend, "int8"), tokens);
        assertSameBits(logitsOf(openNetwork(`${place}/int8`, backend), tokens), expected, name);
      } finally {
        backend.close();
      }
    }
  });
});

test("each layer has a shard, and every tensor lies where a kernel can load it", async () => {
  await withPlace(async (place) => {
    await quantize(source, `${place}/int8`);
    const before = openCheckpoint(source), after = openCheckpoint(`${place}/int8`, "full");
    try {
      assert.deepEqual([...after.tensors.keys()].sort(), [...before.tensors.keys()].sort());
      const shards = new Map<string, string>();
      for (const { name, dtype, shape, file, offset } of after.tensors.values()) {
        assert.equal(offset % (dtype === "U8" ? 64 : dtypeBits[dtype] / 8), 0, name);
        const old = before.tensors.get(name)!;
        if (dtype === "U8") assert.deepEqual(shape, packedShape("int8", old.shape[0], old.shape[1]));
        else {assert.deepEqual(
            [dtype, after.read(after.tensors.get(name)!)],
            [old.dtype, before.read(old)],
            name,
          );}
        const [layer = "outside"] = /layers\.\d+/.exec(name) ?? [];
        assert.equal(shards.get(file) ?? layer, layer, name);
        shards.set(file, layer);
      }
      assert(after.tensors.get("model.layers.1.self_attn.o_proj.weight")!.dtype === "U8");
      assert.equal(new Set(shards.values()).size, shards.size);
    } finally {
      before.close();
      after.close();
    }
    const copied = "generation_config.json";
    assert.deepEqual(readFileSync(`${place}/int8/${copied}`), readFileSync(`${source}/${copied}`));
  });
});

/** @returns a tensor's values, with the factors of its blocks where it has some */
function valuesOf(checkpoint: ReturnType<typeof openCheckpoint>, tensor: StoredTensor): Float32Array {
  const values = decode(tensor.dtype as FloatDtype, checkpoint.read(tensor));
  const scale = checkpoint.tensors.get(`${tensor.name}_scale_inv`);
  const [rows, width] = tensor.shape;
  if (scale) applyBlockScales(values, decode("F32", checkpoint.read(scale)), rows, width);
  return values;
}

/** The same bytes give the same logits on every backend that keeps activations in f32. */
function assertNear(found: Float32Array, expected: Float32Array, what: string): void {
  const allowed = 2e-4 * (Math.max(...expected) - Math.min(...expected));
  const off = found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
  assert(off <= allowed, `${what}: off by ${off}, ${allowed} allowed`);
}
