import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Checkpoint } from "../src/checkpoint/checkpoint.ts";
import { openGguf } from "../src/checkpoint/gguf.ts";
import { decodeGguf } from "../src/checkpoint/gguf_decode.ts";
import { convert } from "../src/convert.ts";
import { CheckpointError, UnsupportedError } from "../src/errors.ts";
import { parseConfig } from "../src/model/config.ts";
import { matrixRows } from "../src/model/matrix_rows.ts";
import { openModel } from "../src/model/open_model.ts";
import { readGgufText } from "../src/gguf_text.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { abandonedPath } from "./abandoned.ts";
import { tensorFile, withFolder } from "./checkpoint/write_safetensors.ts";
import { withPlace } from "./with_place.ts";

const golden = fileURLToPath(new URL("./golden/", import.meta.url));
const fixtures = fileURLToPath(new URL("../../shared/fixtures/", import.meta.url));

function withModel<T>(source: string, use: (checkpoint: Checkpoint) => T): T {
  const checkpoint = openModel(source);
  try {
    return use(checkpoint);
  } finally {
    checkpoint.close();
  }
}

/** All tensors of a model as f32, by the network's names. */
function valuesOf(source: string): Map<string, Float32Array> {
  return withModel(source, (checkpoint) => {
    const names = [...checkpoint.tensors.keys(), ...(checkpoint.coded?.keys() ?? [])].sort();
    return new Map(names.map((name) => {
      const matrix = matrixRows(checkpoint, name);
      return [name, matrix.decode(0, matrix.rows)];
    }));
  });
}

const configOf = (source: string) =>
  withModel(source, (checkpoint) => {
    const { nMtpLayers: _, ...config } = parseConfig(checkpoint.config, source);
    return config;
  });

for (const model of ["v2lite", "v3bf16"]) {
  test(`${model} is the same model after a way through GGUF and back`, async () => {
    await withPlace(async (place) => {
      const gguf = join(place, "model.gguf"), back = join(place, "back");
      const progress: number[] = [];
      await convert(golden + model, gguf, { onProgress: (done, total) => progress.push(done / total) });
      assert.equal(progress.at(-1), 1);
      await convert(gguf, back);
      const original = valuesOf(golden + model);
      for (const source of [gguf, back]) {
        const values = valuesOf(source);
        assert.deepEqual([...values.keys()], [...original.keys()]);
        for (const [name, expected] of original) assert.deepEqual(values.get(name), expected, name);
        assert.deepEqual(configOf(source), configOf(golden + model));
      }
      assert.deepEqual(readdirSync(place).sort(), ["back", "model.gguf"]);
    });
  });
}

test("the tokenizer and its template come through GGUF as they were", async () => {
  await withPlace(async (place) => {
    const gguf = join(place, "model.gguf"), back = join(place, "back");
    await convert(`${golden}v2lite`, gguf);
    await convert(gguf, back);
    const text = (folder: string, name: string) => readFileSync(join(folder, name), "utf8");
    const original = Tokenizer.parse(
      text(`${golden}v2lite`, "tokenizer.json"),
      text(`${golden}v2lite`, "tokenizer_config.json"),
    );
    const ours = Tokenizer.parse(text(back, "tokenizer.json"), text(back, "tokenizer_config.json"));
    const inGguf = (await readGgufText(gguf, null))!;
    const sample = "<｜User｜>The 1234 hats, 龍龜!\n<｜end▁of▁sentence｜>";
    for (const special of [false, true]) {
      assert.deepEqual(ours.encode(sample, { special }), original.encode(sample, { special }));
      assert.deepEqual(inGguf.tokenizer.encode(sample, { special }), original.encode(sample, { special }));
    }
    assert.equal(
      JSON.parse(text(back, "tokenizer_config.json")).chat_template,
      JSON.parse(text(`${golden}v2lite`, "tokenizer_config.json")).chat_template,
    );
    assert.deepEqual([ours.bosId, ours.eosId], [original.bosId, original.eosId]);
  });
});

test("a type may be asked for: matrices are rounded to it, vectors and routers are not", async () => {
  await withPlace(async (place) => {
    const gguf = join(place, "model.gguf");
    await convert(`${golden}v2lite`, gguf, { type: "BF16" });
    const model = openGguf(gguf);
    model.close();
    for (const { name, type, shape } of model.tensors.values()) {
      const isSmall = shape.length === 1 || name.endsWith("ffn_gate_inp.weight");
      assert.equal(type, isSmall ? "F32" : "BF16", name);
    }
  });
});

test("what is written agrees with what another program wrote of the same model", async () => {
  if (!existsSync(`${fixtures}gguf`)) {
    return console.log("NOTE: ../shared/fixtures/gguf is not here: nothing is compared");
  }
  for (const name of ["v2lite", "v3"]) {
    await withPlace(async (place) => {
      const path = join(place, `${name}-f32.gguf`);
      await convert(fixtures + name, path);
      const [ours, theirs] = [openGguf(path), openGguf(`${fixtures}gguf/${name}-f32.gguf`)];
      try {
        assert.deepEqual([...ours.tensors.keys()].sort(), [...theirs.tensors.keys()].sort());
        for (const tensor of theirs.tensors.values()) {
          const own = ours.tensors.get(tensor.name)!;
          assert.deepEqual(own.shape, tensor.shape);
          const read = (model: typeof ours, { type, file, offset, sizeBytes }: typeof own) =>
            decodeGguf(type, model.files.get(file)!.read(offset, sizeBytes));
          assert.deepEqual(read(ours, own), read(theirs, tensor), tensor.name);
        }
        for (const [key, value] of theirs.metadata) {
          // This fixture has a tokenizer where the folder has none, and says a few things in other words.
          if (/^general\.|^tokenizer\./.test(key)) continue;
          assert.deepEqual(ours.metadata.get(key), value, key);
        }
      } finally {
        ours.close();
        theirs.close();
      }
    });
  }
});

test("blocks, fp8 and other programs' formats become plain numbers, BF16 unless another type is asked for", async () => {
  if (!existsSync(fixtures)) {
    return console.log("NOTE: ../shared/fixtures is not here: no such model is converted");
  }
  for (const name of ["gguf/kquant-q4_k_m.gguf", "v2lite_gptq_actorder", "v3fp8"]) {
    await withPlace(async (place) => {
      const out = join(place, "out");
      await convert(fixtures + name, out, { type: "F32" });
      const original = valuesOf(fixtures + name);
      const values = valuesOf(out);
      for (const [tensor, expected] of original) {
        if (!tensor.endsWith("_scale_inv")) assert.deepEqual(values.get(tensor), expected, tensor);
      }
      assert.deepEqual({ ...configOf(out), quantisation: "" }, {
        ...configOf(fixtures + name),
        quantisation: "",
      });
    });
  }
});

test("nothing is left behind when converting fails, is given up, or would write over something", async () => {
  await withPlace(async (place) => {
    const out = join(place, "model.gguf");
    const stop = new AbortController();
    const options = { signal: stop.signal, onProgress: () => stop.abort() };
    await assert.rejects(convert(`${golden}v2lite`, out, options), { name: "AbortError" });
    await assert.rejects(convert(join(place, "nothing"), out), /there is no such folder/);
    assert.deepEqual(readdirSync(place), []);
    await convert(`${golden}v2lite`, out);
    writeFileSync(abandonedPath(out), "half"); // of a process that was killed
    await assert.rejects(convert(`${golden}v2lite`, out), /model\.gguf: it is there already/);
    assert.deepEqual(readdirSync(place), ["model.gguf"]);
  });
});

test("with full validation a GGUF file with a number that is not finite is refused by its tensor", async () => {
  await withPlace(async (place) => {
    const path = join(place, "model.gguf");
    await convert(`${golden}v2lite`, path);
    openModel(path, { validation: "full" }).close();
    const bytes = readFileSync(path);
    const model = openGguf(path);
    model.close();
    bytes.writeFloatLE(NaN, model.tensors.get("blk.1.ffn_up_exps.weight")!.offset + 4 * (64 * 32 + 7));
    writeFileSync(path, bytes);
    openModel(path).close();
    assert.throws(() => openModel(path, { validation: "full" }), (error: unknown) => {
      assert.ok(error instanceof CheckpointError, `${error}`);
      assert.match(
        error.message,
        /layers\.1\.mlp\.experts\.1\.up_proj\.weight holds NaN or infinity at index 7$/,
      );
      return true;
    });
  });
});

test("matrices in hadal's own weight formats are refused by name", () => {
  const packed = { dtype: "U8", shape: [1, 1, 1088], bytes: new Uint8Array(1088) };
  withFolder({ "config.json": {}, "model.safetensors": tensorFile({ x: packed }) }, (folder) => {
    withModel(folder, (checkpoint) => {
      assert.throws(() => matrixRows(checkpoint, "x"), (error: unknown) => {
        assert.ok(error instanceof UnsupportedError, `${error}`);
        assert.match(error.message, /^Cannot convert x: U8 \[1,1,1088\] found, a matrix or vector in F32/);
        return true;
      });
    });
  });
});
