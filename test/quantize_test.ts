import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { StoredTensor } from "../src/checkpoint/checkpoint.ts";
import { applyBlockScales, decode, type FloatDtype } from "../src/checkpoint/decode.ts";
import { openCheckpoint } from "../src/checkpoint/open.ts";
import { CheckpointError, UnsupportedError } from "../src/errors.ts";
import type { Network } from "../src/model/network.ts";
import { quantize as write, type QuantizeOptions } from "../src/quantize.ts";
import {
  keepable,
  type KeepablePart,
  type Packer,
  type TargetFormat,
} from "../src/model/quantized_tensors.ts";
import { dtypeBits } from "../src/tensor/dtype.ts";
import { packedFormats, packedShape } from "../src/tensor/packed_format.ts";
import { openReference } from "../src/backend/reference/backend.ts";
import { roundToBf16 } from "../src/tensor/round.ts";
import { cpuBackends, everyBackend } from "./backends.ts";
import { aloneOn, openGolden, openNetwork } from "./model/golden.ts";

const formats: readonly TargetFormat[] = [...packedFormats, "fp8", "bf16"];
const parts = Object.keys(keepable) as KeepablePart[];
const cpus = await cpuBackends();
const rounding = (await cpuBackends({ exact: false })).map(({ name, open }) => ({
  name: `${name} with int8 activations`,
  open,
}));
const backends = [...await everyBackend(), ...rounding];
/** The plain packer; tests that others make the same bytes are below. */
const packer: Packer = openReference();

function quantize(from: string, to: string, options: Partial<QuantizeOptions> = {}) {
  return write(from, to, { format: "int8", packer, ...options });
}

for (const architecture of ["v3bf16", "v2lite", "v3fp8"] as const) {
  const golden = openGolden(architecture);
  if (!golden) continue;
  const { folder, prompts } = golden;
  const { tokens } = prompts[0];
  const stored = { v3bf16: "bf16", v2lite: "none", v3fp8: "fp8" }[architecture];

  for (const format of formats) {
    if (format === stored) continue;
    test(`${architecture} written in ${format} says what ${format} made at load says`, async () => {
      await withFolder(async (place) => {
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
      await withFolder(async (place) => {
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
    await withFolder(async (place) => {
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
    await withFolder(async (place) => {
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

const source = openGolden("v3bf16")!.folder;
const minnow = fileURLToPath(new URL("../examples/minnow", import.meta.url));

test("bf16 is a plain checkpoint: no word of a quantisation, each value the nearest", async () => {
  await withFolder(async (place) => {
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

test("fp8 lies and is told as in DeepSeek's own files: factors for blocks, the head as it was", async () => {
  await withFolder(async (place) => {
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
  await withFolder(async (place) => {
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
  await withFolder(async (place) => {
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
  await withFolder(async (place) => {
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
  await withFolder(async (place) => {
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

test("damaged folders of int8 are refused by name", async () => {
  await withFolder(async (place) => {
    const sound = `${place}/sound`;
    await quantize(source, sound);
    const own = { quant_method: "hadal", format: "int8", group: 32 };
    const { moe_intermediate_size: width } = JSON.parse(readFileSync(`${sound}/config.json`, "utf8"));
    const shard = readdirSync(sound).filter((name) => name.endsWith(".safetensors")).sort().at(-1)!;
    const whole = readFileSync(join(sound, shard));
    const headerEnd = 8 + Number(whole.readBigUInt64LE());
    const cases: [
      what: string,
      config: object,
      bytes: Uint8Array,
      error: typeof CheckpointError | typeof UnsupportedError,
      message: RegExp,
    ][] = [
      ["no quantization_config", { quantization_config: undefined }, whole, CheckpointError, /has shape/],
      [
        "of fp8",
        { quantization_config: { quant_method: "fp8", weight_block_size: [128, 128] } },
        whole,
        CheckpointError,
        /has shape/,
      ],
      ["group 64", { quantization_config: { ...own, group: 64 } }, whole, UnsupportedError, /group 64/],
      ["format int5", { quantization_config: { ...own, format: "int5" } }, whole, UnsupportedError, /int5/],
      [
        "format int4",
        { quantization_config: { ...own, format: "int4" } },
        whole,
        CheckpointError,
        /has shape/,
      ],
      [
        "asymmetric",
        { quantization_config: { ...own, asymmetric: true } },
        whole,
        CheckpointError,
        /never asymmetric/,
      ],
      ["no group", { quantization_config: { ...own, group: null } }, whole, UnsupportedError, /group/],
      ["fmt", { quantization_config: { ...own, fmt: "e4m3" } }, whole, CheckpointError, /fmt/],
      [
        "block",
        { quantization_config: { ...own, weight_block_size: [128, 128] } },
        whole,
        CheckpointError,
        /weight_block_size/,
      ],
      ["another width", { moe_intermediate_size: width + 64 }, whole, CheckpointError, /has shape/],
      ["cut short", {}, whole.subarray(0, whole.length - 64), CheckpointError, /holds/],
      ["too long", {}, concat(whole, new Uint8Array(64)), CheckpointError, /holds/],
      ["unaligned", {}, shifted(whole, headerEnd), CheckpointError, /multiple of 64/],
    ];
    const [backend] = await Promise.all(backends.slice(0, 1).map(({ open }) => open()));
    for (const [what, config, bytes, error, message] of cases) {
      const folder = copyOf(sound, join(place, what), config);
      writeFileSync(join(folder, shard), bytes);
      assert.throws(() => openNetwork(folder, backend), (thrown: Error) => {
        assert(thrown instanceof error, `${what}: ${thrown}`);
        assert.match(thrown.message, message, what);
        return true;
      });
    }
    for (const format of formats) {
      await assert.rejects(quantize(sound, `${place}/again`, { format }), (error: Error) => {
        assert(error instanceof UnsupportedError, String(error));
        assert.match(error.message, format === "int8" ? /in int8 already/ : /rounded to int8 already/);
        return true;
      });
      assert(!existsSync(`${place}/again`));
      if (format === "int8") continue;
      assert.throws(() => openNetwork(sound, backend, format), /rounded to int8 already|cannot be made/);
    }
  });
});

test("what is there is never written over", async () => {
  await withFolder(async (place) => {
    writeFileSync(`${place}/file`, "text");
    mkdirSync(`${place}/folder`);
    symlinkSync(`${place}/nowhere`, `${place}/link`);
    for (const name of ["file", "folder", "link"]) {
      await assert.rejects(quantize(source, join(place, name)), /it is there already/);
    }
    await assert.rejects(quantize(source, `${place}/none/out`), /Cannot write/);
    await assert.rejects(quantize(`${place}/none`, `${place}/out`), CheckpointError);
    assert.deepEqual(readdirSync(place).sort(), ["file", "folder", "link"]);
    assert.deepEqual(readdirSync(`${place}/folder`), []);
    assert.equal(readFileSync(`${place}/file`, "utf8"), "text");
  });
});

test("a run that is given up leaves nothing, whenever that happens", async () => {
  await withFolder(async (place) => {
    let calls = 0;
    await quantize(source, `${place}/whole`, { onProgress: () => calls++ });
    for (let last = 0; last < calls; last += Math.ceil(calls / 7)) {
      const stop = new AbortController();
      let seen = 0;
      const onProgress = () => {
        if (seen++ === last) stop.abort(new Error("enough"));
      };
      await assert.rejects(quantize(source, `${place}/out`, { signal: stop.signal, onProgress }), /enough/);
      assert.deepEqual(readdirSync(place), ["whole"]);
    }
  });
});

test("a weight that a format cannot hold is named by every packer, and nothing is left", async () => {
  await withFolder(async (place) => {
    const name = "model.layers.1.self_attn.o_proj.weight";
    const folder = copyOf(source, join(place, "source"), {});
    const checkpoint = openCheckpoint(folder);
    const { file, offset, shape: [, width] } = checkpoint.tensors.get(name)!;
    checkpoint.close();
    const sound = readFileSync(file);
    for (const [what, bits] of [["NaN", 0x7fc0], ["infinity", 0xff80], ["too large", 0x7f00]] as const) {
      const bytes = Uint8Array.from(sound);
      new DataView(bytes.buffer).setUint16(offset + 2 * (17 * width + 40), bits, true);
      writeFileSync(file, bytes);
      for (const { name: backendName, open } of await everyBackend()) {
        const packer = await open();
        for (const format of formats) {
          if (format === "bf16" || (format === "fp8" && what === "too large")) continue;
          await assert.rejects(quantize(folder, `${place}/out`, { format, packer }), (error: Error) => {
            const where = `${what} in ${format} by ${backendName}`;
            assert(error instanceof CheckpointError, `${where}: ${error}`);
            const at = format === "fp8" ? "\\(0, 0\\)" : "\\(17, 32\\)";
            assert.match(
              error.message,
              new RegExp(`layers\\.1\\.self_attn\\.o_proj.* row 0, ${at}: .* found, ${format}`),
              where,
            );
            return true;
          });
        }
        packer.close();
      }
    }
    assert.deepEqual(readdirSync(place), ["source"]);
  });
});

test("a checkpoint that has the format already is refused, and so is fp8 kept in bf16", async () => {
  await withFolder(async (place) => {
    await assert.rejects(quantize(source, `${place}/out`, { format: "bf16" }), /it is in bf16 already/);
    await assert.rejects(quantize(minnow, `${place}/out`, { format: "fp8" }), /it is in fp8 already/);
    await assert.rejects(
      quantize(minnow, `${place}/out`, { format: "bf16", keep: ["attention"] }),
      /Cannot keep .*self_attn.*: it is in fp8, which a checkpoint in bf16 cannot hold/,
    );
    assert.deepEqual(readdirSync(place), []);
  });
});

/** Kernels where they open: a few MB in plain TypeScript take seconds. */
async function fastPacker(): Promise<Packer> {
  return cpus.length > 0 ? await cpus.at(-1)!.open() : packer;
}

/** @returns a tensor's values, with the factors of its blocks where it has some */
function valuesOf(checkpoint: ReturnType<typeof openCheckpoint>, tensor: StoredTensor): Float32Array {
  const values = decode(tensor.dtype as FloatDtype, checkpoint.read(tensor));
  const scale = checkpoint.tensors.get(`${tensor.name}_scale_inv`);
  const [rows, width] = tensor.shape;
  if (scale) applyBlockScales(values, decode("F32", checkpoint.read(scale)), rows, width);
  return values;
}

/** Runs with a new folder, and removes it in any case. */
async function withFolder(use: (place: string) => Promise<void>): Promise<void> {
  const place = mkdtempSync(join(tmpdir(), "hadal-quantize-"));
  try {
    await use(place);
  } finally {
    rmSync(place, { recursive: true });
  }
}

/** A copy of a model's folder with other keys in config.json. */
function copyOf(from: string, to: string, config: object): string {
  mkdirSync(to);
  for (const name of readdirSync(from)) copyFileSync(join(from, name), join(to, name));
  const json = JSON.parse(readFileSync(join(from, "config.json"), "utf8"));
  writeFileSync(join(to, "config.json"), JSON.stringify({ ...json, ...config }));
  return to;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  return Uint8Array.from([...a, ...b]);
}

/** The same file with four more spaces after its header. */
function shifted(file: Uint8Array, headerEnd: number): Uint8Array {
  const spaces = new Uint8Array(4).fill(0x20);
  const out = concat(concat(file.subarray(0, headerEnd), spaces), file.subarray(headerEnd));
  new DataView(out.buffer).setBigUint64(0, BigInt(headerEnd - 8 + spaces.length), true);
  return out;
}

/** A prompt, and two generated tokens. */
function logitsOf(network: Network, tokens: Int32Array): Float32Array {
  const sequence = aloneOn(network, tokens.length + 2);
  const logits = [sequence.prompt(tokens), sequence.generated(5), sequence.generated(7)];
  return Float32Array.from(logits.flatMap((values) => [...values]));
}

/** The same bytes give the same logits on every backend that keeps activations in f32. */
function assertNear(found: Float32Array, expected: Float32Array, what: string): void {
  const allowed = 2e-4 * (Math.max(...expected) - Math.min(...expected));
  const off = found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
  assert(off <= allowed, `${what}: off by ${off}, ${allowed} allowed`);
}

function assertSameBits(found: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(found.length, expected.length, what);
  const a = new Uint32Array(found.buffer), b = new Uint32Array(expected.buffer);
  const different = a.findIndex((bits, i) => bits !== b[i]);
  assert.equal(different, -1, `${what}: ${found[different]} at ${different}, ${expected[different]} needed`);
}
