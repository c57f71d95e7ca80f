import assert from "node:assert/strict";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { commit, modelId, withHub } from "../checkpoint/hub/hub_server.ts";
import { safetensors } from "../checkpoint/write_safetensors.ts";
import { tensorTable, v2Lite } from "../model/tensor_table.ts";
import { runHadal } from "./run_hadal.ts";

const model = fileURLToPath(new URL("../golden/v2lite", import.meta.url));

/** Runs with a copy of the small model. */
async function withCopy(use: (folder: string) => Promise<void>): Promise<void> {
  const place = mkdtempSync(join(tmpdir(), "hadal-inspect-"));
  try {
    cpSync(model, place, { recursive: true });
    await use(place);
  } finally {
    rmSync(place, { recursive: true });
  }
}

test("inspect tells what a folder holds and what it would take", async () => {
  const { code, stdout, stderr } = await runHadal(["inspect", model, "--context", "640", "--batch", "3"]);
  assert.equal(code, 0, stderr);
  const lines = Object.fromEntries(
    stdout.trimEnd().split("\n").map((line) => [line.slice(0, 12).trim(), line.slice(12)]),
  );
  assert.equal(lines.network, "deepseek_v2, 3 layers of width 64, vocabulary 512");
  assert.match(lines.experts, /^8 in each of 2 layers, of width 32; a token uses 3, 2 shared$/);
  assert.match(lines.parameters, /^0\.3 million, of which a token uses 0\.2 million$/);
  assert.match(lines.files, /^1\.1 MB in 83 tensors: F32 1\.1 MB$/);
  assert.match(lines["in formats"], /f32 1\.1 MB, .*int4 295 KB/);
  // 3 layers of 32 + 16 numbers of 4 bytes, in 10 blocks of 64 tokens for each of 3 sequences.
  assert.match(lines.memory, /cache 1\.1 MB \(3 x 640 tokens in f32\)/);
  assert.match(lines.speed, /^at most \d+ tokens\/s at 50 GB\/s/);
});

test("--json has the numbers, and options change them as they should", async () => {
  const numbers = async (...options: string[]) => {
    const { code, stdout, stderr } = await runHadal(["inspect", model, "--json", ...options]);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const [plain, long, int8, slow] = await Promise.all([
    numbers("--context", "64"),
    numbers("--context", "128", "--cache", "bf16"),
    numbers("--context", "64", "--weights", "int8"),
    numbers("--context", "64", "--bandwidth", "25"),
  ]);
  assert.equal(plain.architecture, "deepseek_v2");
  assert.equal(plain.estimate.memory.cacheBytes, 3 * 64 * 48 * 4);
  assert.equal(long.estimate.memory.cacheBytes, plain.estimate.memory.cacheBytes);
  assert.equal(int8.estimate.memory.weightsBytes, plain.formats.int8);
  assert.equal(plain.estimate.memory.weightsBytes, plain.formats.f32);
  assert.equal(slow.estimate.speed.tokensPerSecond, plain.estimate.speed.tokensPerSecond / 2);
  const { weightsBytes, cacheBytes, activationBytes, totalBytes } = plain.estimate.memory;
  assert.equal(weightsBytes + cacheBytes + activationBytes, totalBytes);
});

test("a configuration is inferred where there is none, and what was assumed is said", async () => {
  await withCopy(async (folder) => {
    rmSync(join(folder, "config.json"));
    const text = await runHadal(["inspect", folder]);
    assert.equal(text.code, 1, "it would not load as it is");
    assert.match(
      text.stdout,
      /config\.json +there is none; from the shapes[^]*hidden_size 64[^]*guessed[^]*rope_theta 10000/,
    );
    assert.match(text.stdout, /network +deepseek_v2, 3 layers/);
    const { inferred } = JSON.parse((await runHadal(["inspect", folder, "--json"])).stdout);
    assert.equal(inferred.config.kv_lora_rank, 32);
    writeFileSync(join(folder, "config.json"), JSON.stringify(inferred.config));
    const again = await runHadal(["inspect", folder]);
    assert.equal(again.code, 0, "the inferred configuration is a configuration");
  });
});

test("a configuration is inferred for PyTorch files as well", async () => {
  const fixture = fileURLToPath(
    new URL("../../../shared/fixtures/v2lite_pickle/pytorch_model.bin", import.meta.url),
  );
  if (!existsSync(fixture)) return console.log("NOTE: ../shared/fixtures is not here: no such file was told");
  await withCopy(async (folder) => {
    for (const name of ["config.json", "model.safetensors"]) rmSync(join(folder, name));
    cpSync(fixture, join(folder, "pytorch_model.bin"));
    const { code, stdout } = await runHadal(["inspect", folder]);
    assert.equal(code, 1, "it would not load as it is");
    assert.match(stdout, /network +deepseek_v2, 3 layers[^]*guessed, no shape tells:\s+num_experts_per_tok/);
  });
});

test("a model that would not load ends with 1 and says why, and --validate full reads every weight", async () => {
  await withCopy(async (folder) => {
    const path = join(folder, "model.safetensors");
    const bytes = readFileSync(path);
    const header = 8 + Number(bytes.readBigUInt64LE());
    bytes.writeUInt32LE(0x7fc00000, header + 400);
    writeFileSync(path, bytes);
    assert.equal((await runHadal(["inspect", folder])).code, 0, "the header is sound");
    const full = await runHadal(["inspect", folder, "--validate", "full"]);
    assert.equal(full.code, 2);
    assert.match(full.stderr, /holds NaN or infinity at index 100/);

    const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, kv_lora_rank: 31 }));
    const other = await runHadal(["inspect", folder]);
    assert.equal(other.code, 1);
    assert.match(
      other.stdout,
      /problem +Cannot read .*kv_a_layernorm\.weight has shape \[32\], config\.json asks for \[31\]/,
    );
  });
});

test("a model on a hub is told by its headers alone", async () => {
  const tensors = tensorTable(v2Lite);
  const header = JSON.stringify(
    Object.fromEntries([...tensors.values()].map(({ name, dtype, shape, offset, sizeBytes }) => [
      name,
      { dtype, shape, data_offsets: [offset, offset + sizeBytes] },
    ])),
  );
  const start = safetensors(header);
  const total = start.length + [...tensors.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  assert.ok(start.length > 1 << 18, "the header is longer than the first request");
  const config = new TextEncoder().encode(
    JSON.stringify({ model_type: "deepseek_v2", ...v2Lite, num_experts_per_tok: 6 }),
  );
  await withHub({ "config.json": config, "model.safetensors": start }, async (hub) => {
    let sentBytes = 0;
    hub.misbehave = ({ host, path, method, headers }, response) => {
      if (host === "hub" && method === "HEAD" && path.endsWith("model.safetensors")) {
        response.writeHead(302, {
          "location": `${hub.storeUrl}/x`,
          "x-linked-etag": `"${"a".repeat(64)}"`,
          "x-linked-size": total,
        });
        response.end();
        return true;
      }
      if (method !== "GET" || !/model\.safetensors|\/x$/.test(path)) return false;
      const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(headers.range!)!.map(Number);
      response.writeHead(206, { "content-range": `bytes ${begin}-${end}/${total}` });
      response.end(start.subarray(begin, end + 1));
      sentBytes += end + 1 - begin;
      return true;
    };
    const env = { HF_ENDPOINT: hub.url, HF_HOME: hub.cache };
    const { code, stdout, stderr } = await runHadal(["inspect", modelId], env);
    assert.equal(code, 0, stderr + stdout);
    assert.match(stdout, /parameters +15\.7 billion, of which a token uses 2\.5 billion/);
    assert.match(stdout, /files +31\.4 GB in 5291 tensors/);
    assert.match(stdout, /missing +tokenizer\.json/);
    assert.ok(sentBytes <= start.length + (1 << 18));
    assert.deepEqual(readdirSync(hub.cache), [], "nothing is kept");

    const full = await runHadal(["inspect", modelId, "--validate", "full"], env);
    assert.match(full.stderr, /the cache holds no revision main/);
    const none = await runHadal(["inspect", "deep-see/none"], env);
    assert.deepEqual([none.code, none.stdout], [2, ""]);
    assert.match(none.stderr, /Cannot fetch deep-see\/none at "main": .* 404/);
    hub.files.delete("model.safetensors");
    hub.files.set("x.bin", new Uint8Array(10));
    const torch = await runHadal(["inspect", modelId], env);
    assert.equal(torch.code, 2);
    assert.match(
      torch.stderr,
      /it has x\.bin, only headers of safetensors and GGUF .* "hadal pull deep-see\/tiny" fetches it/,
    );
    hub.files.set("model.safetensors", start);
    const pinned = await runHadal(["inspect", modelId, "--revision", commit], env);
    assert.equal(pinned.code, 0);
  });
});

test("a wrong command line ends with 2 and one sentence", async () => {
  const cases: [string[], RegExp][] = [
    [[], /0 sources were given, one is needed/],
    [[model, "--context", "0"], /--context: 0 was given, a whole number from 1 is needed/],
    [[model, "--context", "100000000"], /Cannot use a context of 100000000 tokens/],
    [[model, "--batch", "x"], /--batch: x was given/],
    [[model, "--cache", "f64"], /--cache: f64 was given, one of f32, bf16, f16, int8 is needed/],
    [[model, "--weights", "int5"], /--weights: int5 was given, one of f32, /],
    [[model, "--bandwidth", "-1"], /--bandwidth: -1 was given|argument/],
    [[model, "--validate", "some"], /--validate: some was given, full is needed/],
    [["/no/such/folder"], /Cannot read \/no\/such\/folder: there is no such folder or file/],
    [[join(model, "..", "sampling")], /it holds no/],
  ];
  await Promise.all(cases.map(async ([args, message]) => {
    const { code, stderr } = await runHadal(["inspect", ...args]);
    assert.equal(code, 2, args.join(" ") + stderr);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n {4}at /, "a stack trace");
  }));
  const help = await runHadal(["inspect", "--help"]);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /--bandwidth GB\/S/);
});
