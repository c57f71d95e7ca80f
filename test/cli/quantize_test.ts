import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { safetensors, writeSparse } from "../checkpoint/write_safetensors.ts";
import { runHadal } from "./run_hadal.ts";

const model = fileURLToPath(new URL("../golden/v3bf16", import.meta.url));

test("the command writes a folder, tells how far it is, and refuses to write it again", async () => {
  await withFolder(async (place) => {
    const out = join(place, "out");
    const first = await runHadal(["quantize", model, out, "--format", "int8", "--keep", "router, head"]);
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /Packing (with the CPU kernels|in plain TypeScript)/);
    assert.match(first.stderr, /1 of 4 layers, 0\.\d of 0\.\d MB, \d+ MB\/s/);
    assert.match(first.stdout, /out is ready: 0\.5 MB of weights became 0\.\d MB, \d+ %/);
    const { quantization_config: found } = JSON.parse(readFileSync(join(out, "config.json"), "utf8"));
    assert.deepEqual(found, { quant_method: "hadal", format: "int8", group: 32 });
    const before = readdirSync(out);

    const other = join(place, "other");
    const named = await runHadal(["quantize", model, other, "--format", "int4a"]);
    assert.equal(named.code, 0, named.stderr);
    const config = JSON.parse(readFileSync(join(other, "config.json"), "utf8"));
    assert.deepEqual(config.quantization_config, {
      quant_method: "hadal",
      format: "int4",
      asymmetric: true,
      group: 32,
    });
    rmSync(other, { recursive: true });

    const again = await runHadal(["quantize", model, out, "--format", "int8"]);
    assert.equal(again.code, 2);
    assert.match(again.stderr, /is there already/);
    assert.deepEqual([readdirSync(place), readdirSync(out)], [["out"], before]);
  });
});

test("a wrong command line ends with 2 and one sentence", async () => {
  const cases: [args: string[], message: RegExp][] = [
    [[], /A command is needed/],
    [["toString"], /no command toString/],
    [["quantize", model], /SOURCE and OUT are needed/],
    [["quantize", model, "/none/out"], /--format: nothing was given, one of int8, int4, nf4, /],
    [["quantize", model, "/none/out", "--format", "int5"], /int5 was given/],
    [
      ["quantize", model, "/none/out", "--format", "int8", "--keep", "heads"],
      /"heads" was given, the parts are head/,
    ],
    [["quantize", model, "/none/out", "--format", "int8", "--other"], /--other/],
    [["quantize", model, "/none/out", "--format", "int4", "--group", "64"], /layout's groups are of 32/],
    [["quantize", model, "/none/out", "--format", "int8", "--asymmetric"], /int8 has no such kind, int4 has/],
    [["quantize", model, "/none/out", "--format", "int8", "--threads", "0"], /--threads: 0 was given/],
    [["quantize", model, "/none/out", "--format", "bf16"], /it is in bf16 already/],
    [["quantize", "/none", "/none/out", "--format", "int8"], /there is no such folder/],
    [
      ["quantize", model, "/none/out", "--format", "int8"],
      /Cannot write \/none\/out: there is no folder \/none/,
    ],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await runHadal(args);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n {4}at /, "a stack trace");
  }
});

test("--help tells about the command and its subcommand", async () => {
  for (
    const [args, text] of [[["--help"], /hadal quantize/], [["quantize", "--help"], /--keep PARTS/]] as const
  ) {
    const { code, stdout } = await runHadal(args);
    assert.equal(code, 0);
    assert.match(stdout, text);
  }
});

test("a signal ends the command with 130 and leaves nothing behind", async () => {
  if (process.platform === "win32") return; // it has no signals that a process may handle
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    await withFolder(async (place) => {
      writeLargeModel(join(place, "source"));
      const stopped = () =>
        runHadal(
          ["quantize", join(place, "source"), join(place, "out"), "--format", "int8"],
          {},
          (child) => {
            const timer = setInterval(() => {
              if (!readdirSync(place).some((name) => name.startsWith("out.partial"))) return;
              clearInterval(timer);
              try {
                process.kill(child.pid!, signal); // of child.kill Deno reports no exit code
              } catch {
                // It was done a moment ago, as its exit code says.
              }
            }, 5);
            child.on("close", () => clearInterval(timer));
          },
        );
      let { code, stderr } = await stopped();
      for (let tries = 1; code === 0 && tries < 5; tries++) { // it was done before this process saw it begin
        rmSync(join(place, "out"), { recursive: true });
        ({ code, stderr } = await stopped());
      }
      assert.equal(code, 130, stderr);
      assert.match(stderr, /Stopped/);
      assert.deepEqual(readdirSync(place), ["source"]);
    });
  }
});

/** The small model with a vocabulary of two million: all zeros, some seconds of work, little disk. */
function writeLargeModel(folder: string): void {
  mkdirSync(folder);
  const vocab = 2 ** 21;
  const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8"));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, vocab_size: vocab }));
  const bytes = readFileSync(join(model, "model.safetensors"));
  const { __metadata__: _, ...header } = JSON.parse(
    bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString(),
  );
  let end = 0;
  for (
    const [name, tensor] of Object.entries<{ dtype: string; shape: number[]; data_offsets: number[] }>(header)
  ) {
    if (/embed_tokens|lm_head/.test(name)) tensor.shape[0] = vocab;
    const begin = end;
    end += tensor.shape.reduce((a, b) => a * b, tensor.dtype === "F32" ? 4 : 2);
    tensor.data_offsets = [begin, end];
  }
  const start = safetensors(JSON.stringify(header));
  writeSparse(join(folder, "model.safetensors"), start, start.length + end);
}

/** Runs with a new folder, and removes it in any case. */
async function withFolder(use: (place: string) => Promise<void>): Promise<void> {
  const place = mkdtempSync(join(tmpdir(), "hadal-cli-"));
  try {
    await use(place);
  } finally {
    rmSync(place, { recursive: true });
  }
}
