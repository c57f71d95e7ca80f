import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runHadal } from "./run_hadal.ts";

const model = fileURLToPath(new URL("../golden/v2lite", import.meta.url));

test("hadal convert writes a GGUF file, says so, and refuses what it cannot do in one line", async () => {
  const place = mkdtempSync(join(tmpdir(), "hadal-test-"));
  try {
    const out = join(place, "model.gguf");
    const done = await runHadal(["convert", model, out, "--type", "bf16"]);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, /model\.gguf is ready/);
    assert.ok(existsSync(out));
    for (
      const [args, problem] of [
        [[model, out], /model\.gguf: it is there already/],
        [[model], /1 paths were given, SOURCE and OUT are needed/],
        [[model, join(place, "x.gguf"), "--type", "q9"], /--type: q9 was given, one of auto, f32, bf16, f16/],
        [[join(place, "nothing"), join(place, "x.gguf")], /there is no such folder/],
      ] as const
    ) {
      const refused = await runHadal(["convert", ...args]);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr.trim(), problem);
      assert.doesNotMatch(refused.stderr.trim(), /\n/);
    }
    const rounded = join(place, "rounded");
    const quantized = await runHadal(["quantize", model, rounded, "--format", "int8"]);
    assert.equal(quantized.code, 0, quantized.stderr);
    for (const to of ["x.gguf", "x"]) {
      const refused = await runHadal(["convert", rounded, join(place, to)]);
      assert.equal(refused.code, 2);
      assert.match(
        refused.stderr.trim(),
        /^Cannot make another file of .*rounded: its matrices are rounded to int8/,
      );
    }
    rmSync(rounded, { recursive: true });
    const minnow = await runHadal(["convert", "minnow", join(place, "minnow.gguf")]);
    assert.equal(minnow.code, 0, minnow.stderr);
    assert.deepEqual(readdirSync(place).sort(), ["minnow.gguf", "model.gguf"]);
    const help = await runHadal(["convert", "--help"]);
    assert.match(help.stdout, /hadal convert SOURCE OUT/);
  } finally {
    rmSync(place, { recursive: true });
  }
});
