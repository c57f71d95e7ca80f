/** What is not written, and what is not read again. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openCheckpoint } from "../src/checkpoint/open.ts";
import { CheckpointError, UnsupportedError } from "../src/errors.ts";
import { everyBackend } from "./backends.ts";
import { openNetwork } from "./model/golden.ts";
import { backends, copyOf, formats, minnow, quantize, source } from "./quantized.ts";
import { withPlace } from "./with_place.ts";

test("damaged folders of int8 are refused by name", async () => {
  await withPlace(async (place) => {
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
  await withPlace(async (place) => {
    writeFileSync(`${place}/file`, "text");
    mkdirSync(`${place}/folder`);
    symlinkSync(`${place}/nowhere`, `${place}/link`);
    for (const name of ["file", "folder", "link"]) {
      await assert.rejects(quantize(source, join(place, name)), /it is there already/);
    }
    await assert.rejects(quantize(source, `${place}/none/out`), {
      message: `Cannot write ${place}/none/out: there is no folder ${place}/none`,
    });
    await assert.rejects(quantize(source, `${place}/file/out`), /there is no folder .*file$/);
    await assert.rejects(quantize(`${place}/none`, `${place}/out`), CheckpointError);
    assert.deepEqual(readdirSync(place).sort(), ["file", "folder", "link"]);
    assert.deepEqual(readdirSync(`${place}/folder`), []);
    assert.equal(readFileSync(`${place}/file`, "utf8"), "text");
  });
});

test("a run that is given up leaves nothing, whenever that happens", async () => {
  await withPlace(async (place) => {
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
  await withPlace(async (place) => {
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
  await withPlace(async (place) => {
    await assert.rejects(quantize(source, `${place}/out`, { format: "bf16" }), /it is in bf16 already/);
    await assert.rejects(quantize(minnow, `${place}/out`, { format: "fp8" }), /it is in fp8 already/);
    await assert.rejects(
      quantize(minnow, `${place}/out`, { format: "bf16", keep: ["attention"] }),
      /Cannot keep .*self_attn.*: it is in fp8, which a checkpoint in bf16 cannot hold/,
    );
    assert.deepEqual(readdirSync(place), []);
  });
});

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
