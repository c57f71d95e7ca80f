import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openReference } from "../src/backend/reference/backend.ts";
import type { Checkpoint } from "../src/checkpoint/checkpoint.ts";
import { openGguf } from "../src/checkpoint/gguf.ts";
import { convert } from "../src/convert.ts";
import { matrixRows } from "../src/model/matrix_rows.ts";
import { openModel } from "../src/model/open_model.ts";
import type { TargetFormat } from "../src/model/quantized_tensors.ts";
import { quantize } from "../src/quantize.ts";
import { isPackedFormat } from "../src/tensor/packed_format.ts";
import { unpackT16 } from "../src/tensor/t16.ts";
import { cpuBackends } from "./backends.ts";
import { modelId, withHub } from "./checkpoint/hub/hub_server.ts";
import { writeGgufModel } from "./model/gguf_parts.ts";
import { runHadal } from "./cli/run_hadal.ts";
import { withPlace } from "./with_place.ts";

const golden = fileURLToPath(new URL("./golden/", import.meta.url));
const fixtures = fileURLToPath(new URL("../../shared/fixtures/", import.meta.url));
/** All packers make the same bytes (quantize_test.ts); this one in less time. */
const packer = await (await cpuBackends()).at(-1)?.open() ?? openReference();

function withModels<T>(sources: readonly string[], use: (...models: Checkpoint[]) => T): T {
  const models = sources.map((source) => openModel(source, { widens: true }));
  try {
    return use(...models);
  } finally {
    for (const model of models) model.close();
  }
}

/**
 * Each matrix of `made` is that of `viaPlain`, byte for byte, or holds its source's values as they are; and
 * all else is that of `plain`.
 * @returns how many matrices there are of each kind
 */
function assertSameModel(
  source: string,
  made: string,
  viaPlain: string,
  plain: string,
  format: TargetFormat,
): { made: number; exact: number; kept: number } {
  return withModels([source, made, viaPlain, plain], (source, made, viaPlain, plain) => {
    const count = { made: 0, exact: 0, kept: 0 };
    assert.deepEqual([...made.tensors.keys()].sort(), [...viaPlain.tensors.keys()].sort());
    assert.deepEqual(made.config, viaPlain.config);
    for (const [name, tensor] of made.tensors) {
      const other = viaPlain.tensors.get(name)!;
      const bytes = made.read(tensor);
      const coded = source.coded?.get(name);
      if (isPackedFormat(format) && tensor.dtype === "U8" && coded?.exact()?.format === format) {
        const values = unpackT16(bytes, coded.rows, coded.width, format);
        assert.deepEqual(values, coded.decode(0, coded.rows), name);
        count.exact++;
      } else if (
        format === "fp8" ? /F8|_scale_inv/.test(tensor.dtype + name) : /_proj|lm_head|eh_proj/.test(name)
      ) {
        assert.deepEqual([tensor.dtype, tensor.shape], [other.dtype, other.shape], name);
        assert.deepEqual(bytes, viaPlain.read(other), name);
        count.made++;
      } else {
        const asConverted = plain.tensors.get(name)!;
        assert.deepEqual([tensor.dtype, tensor.shape], [asConverted.dtype, asConverted.shape], name);
        assert.deepEqual(bytes, plain.read(asConverted), name);
        count.kept++;
      }
    }
    return count;
  });
}

async function check(source: string, format: TargetFormat) {
  let count = { made: 0, exact: 0, kept: 0 };
  await withPlace(async (place) => {
    const at = (name: string) => join(place, name);
    await quantize(source, at("made"), { format, packer });
    await convert(source, at("f32"), { type: "F32" });
    await convert(source, at("plain"));
    await quantize(at("f32"), at("via"), { format, packer });
    count = assertSameModel(source, at("made"), at("via"), at("plain"), format);
  });
  return count;
}

for (
  const [name, formats] of Object.entries({ v2lite: ["bf16"], v3bf16: ["int8"] } as const)
) {
  test(`a GGUF file of ${name} becomes what its safetensors become`, async () => {
    await withPlace(async (place) => {
      const whole = join(place, "model.gguf");
      await convert(golden + name, whole);
      for (const format of formats) {
        const { made, exact } = await check(whole, format);
        assert.ok(made > 20 && exact === 0, `${made} made`);
        const [fromGguf, fromFolder] = [join(place, `gguf-${format}`), join(place, `folder-${format}`)];
        await quantize(whole, fromGguf, { format, packer });
        await quantize(golden + name, fromFolder, { format, packer });
        withModels([fromGguf, fromFolder], (ours, original) => {
          for (const [name, tensor] of ours.tensors) {
            if (tensor.dtype === "F32") continue; // vectors and routers are widened in GGUF
            assert.deepEqual(ours.read(tensor), original.read(original.tensors.get(name)!), name);
          }
        });
      }
    });
  });
}

test("a GGUF model in parts becomes, file for file, what the whole one becomes", async () => {
  await withPlace(async (place) => {
    await writeGgufModel(`${golden}v2lite`, place, "split", new Map(), 3);
    await writeGgufModel(`${golden}v2lite`, place, "whole", new Map());
    await quantize(join(place, "split-00001-of-00003.gguf"), join(place, "a"), { format: "int4", packer });
    await quantize(join(place, "whole.gguf"), join(place, "b"), { format: "int4", packer });
    const names = readdirSync(join(place, "a"));
    assert.ok(names.includes("tokenizer.json") && names.length >= 6, names.join());
    for (const name of names) {
      assert.deepEqual(readFileSync(join(place, "a", name)), readFileSync(join(place, "b", name)), name);
    }
    await convert(join(place, "split-00001-of-00003.gguf"), join(place, "again.gguf"));
    const again = openGguf(join(place, "again.gguf"));
    again.close();
    assert.equal(again.metadata.get("general.name")?.value, "split");
    withModels([join(place, "again.gguf"), join(place, "whole.gguf")], (one, other) => {
      for (const [name, tensor] of one.tensors) {
        assert.deepEqual(one.read(tensor), other.read(other.tensors.get(name)!), name);
      }
      assert.equal(one.tensors.size, other.tensors.size);
    });
  });
});

const shared: Readonly<Record<string, readonly TargetFormat[]>> = {
  "gguf/kquant-q4_k_m.gguf": ["fp8"],
  "gguf/v2lite-q5_1.gguf": ["int4a"],
  v2lite_gptq: ["int4"],
  v2lite_gptq_actorder: ["nf4"],
  v2lite_awq: ["int8"],
  v2lite_pickle: ["bf16"],
};
for (const [name, formats] of Object.entries(shared)) {
  test(`${name} becomes, byte for byte, what its conversion becomes, or what holds its values exactly`, async () => {
    if (!existsSync(fixtures + name)) {
      return console.log(`NOTE: ../shared/fixtures/${name} is not here: it was not quantised`);
    }
    for (const format of formats) {
      const { made, exact, kept } = await check(fixtures + name, format);
      assert.ok(made + exact > 20 && kept > 5, `${format}: ${made} made, ${exact} exact, ${kept} kept`);
      const isHeld = name === "v2lite_gptq" && format === "int4";
      if (isHeld) assert.ok(exact > 20, "symmetric codes of 4 bits are int4 as they are");
    }
  });
}

test("a hub's name is quantised and converted, and a source that is not there is refused in one line", async () => {
  await withPlace(async (place) => {
    const gguf = join(place, "tiny.gguf"), local = join(place, "local");
    await convert(`${golden}v2lite`, gguf);
    await quantize(gguf, local, { format: "int4", packer });
    await withHub({ "tiny.gguf": readFileSync(gguf) }, async ({ url, cache }) => {
      const env = { HF_ENDPOINT: url, HF_HUB_CACHE: cache };
      const quantised = join(place, "int4"), converted = join(place, "plain");
      for (
        const args of [["quantize", modelId, quantised, "--format", "int4"], ["convert", modelId, converted]]
      ) {
        const { code, stderr } = await runHadal(args, env);
        assert.equal(code, 0, stderr);
      }
      for (const name of readdirSync(local)) {
        assert.deepEqual(readFileSync(join(quantised, name)), readFileSync(join(local, name)), name);
      }
      assert.ok(existsSync(join(converted, "tokenizer.json")));
      const { code, stderr } = await runHadal([
        "quantize",
        join(place, "none"),
        join(place, "x"),
        "--format",
        "int8",
      ]);
      assert.equal(code, 2);
      assert.match(stderr, /^Cannot read .*none: there is no such folder; /);
      assert.doesNotMatch(stderr.trim(), /\n/);
    });
  });
});

test("GPTQ, AWQ and PyTorch folders become GGUF as well, and are the same numbers there", async () => {
  for (const name of ["v2lite_gptq", "v2lite_awq", "v2lite_pickle"]) {
    if (!existsSync(fixtures + name)) {
      console.log(`NOTE: ../shared/fixtures/${name} is not here: it was not converted`);
      continue;
    }
    await withPlace(async (place) => {
      const folder = join(place, "folder"), out = join(place, "out.gguf");
      mkdirSync(folder);
      cpSync(fixtures + name, folder, { recursive: true });
      await convert(folder, out, { type: "F32" });
      withModels([folder, out], (source, gguf) => {
        const names = [...source.tensors.keys(), ...(source.coded?.keys() ?? [])];
        assert.equal(names.length, gguf.tensors.size + gguf.coded!.size);
        for (const tensor of names) {
          const [expected, found] = [source, gguf].map((model) => matrixRows(model, tensor));
          assert.deepEqual(found.decode(0, found.rows), expected.decode(0, expected.rows), tensor);
        }
      });
    });
  }
});
