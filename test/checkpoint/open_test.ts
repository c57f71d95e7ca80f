import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readModelJson } from "../../src/checkpoint/file.ts";
import { openCheckpoint } from "../../src/checkpoint/open.ts";
import { CheckpointError } from "../../src/errors.ts";
import { folderOf, safetensors, tensorFile, withFolder, writeSparse } from "./write_safetensors.ts";
import { spentBy } from "../spent.ts";

const ones = { dtype: "F32", shape: [2], bytes: new Uint8Array(new Float32Array([1, 1]).buffer) };
const shardA = tensorFile({ a: ones });
const shardB = tensorFile({ b: ones });
const single = { "config.json": {}, "model.safetensors": shardA };
const index = (weightMap: unknown, rest = {}) => ({
  metadata: { total_size: 16 },
  weight_map: weightMap,
  ...rest,
});
const sharded = {
  "config.json": {},
  "a.safetensors": shardA,
  "b.safetensors": shardB,
  "model.safetensors.index.json": index({ a: "a.safetensors", b: "b.safetensors" }),
};

/** Asserts that a folder is refused quickly, in one sentence that names the file at fault. */
function refusesFolder(folder: string, file: string, problem: RegExp): void {
  const spent = spentBy(() => {
    assert.throws(() => openCheckpoint(folder).close(), (error: unknown) => {
      assert.ok(error instanceof CheckpointError, `${error}`);
      assert.equal(error.file, join(folder, file));
      assert.match(error.message, /^Cannot read [^\n]*[^.]$/);
      assert.match(error.message, problem);
      return true;
    });
  });
  assert.ok(spent < 5000); // a fifth of a second where it takes longest
}

function refuses(files: Record<string, string | Uint8Array | object>, file: string, problem: RegExp): void {
  withFolder(files, (folder) => refusesFolder(folder, file, problem));
}

test("a folder with one file or with shards gives all tensors and the config", () => {
  withFolder({ ...single, "config.json": { x: 1 } }, (folder) => {
    const checkpoint = openCheckpoint(folder);
    assert.deepEqual([...checkpoint.tensors.keys()], ["a"]);
    assert.deepEqual(checkpoint.config, { x: 1 });
    assert.equal(checkpoint.sizeBytes, 8);
    assert.deepEqual(checkpoint.read(checkpoint.tensors.get("a")!), ones.bytes);
    checkpoint.close();
  });
  withFolder(sharded, (folder) => {
    const checkpoint = openCheckpoint(folder, "full");
    assert.deepEqual([...checkpoint.tensors.keys()], ["a", "b"]);
    assert.equal(checkpoint.tensors.get("b")!.file, join(folder, "b.safetensors"));
    checkpoint.close();
  });
});

test("all model folders of the fixtures open with full validation", () => {
  const shared = fileURLToPath(new URL("../../../shared/fixtures/", import.meta.url));
  const own = fileURLToPath(new URL("../golden/", import.meta.url));
  if (!existsSync(shared)) {
    console.log("NOTE: ../shared/fixtures is not here: only the project's own folders are opened");
  }
  const weights = ["model.safetensors", "model.safetensors.index.json"];
  const folders = [shared, own].filter((place) => existsSync(place))
    .flatMap((place) => readdirSync(place).map((name) => join(place, name)))
    .filter((folder) => weights.some((name) => existsSync(join(folder, name))));
  assert.ok(folders.length >= 2);
  for (const folder of folders) {
    const checkpoint = openCheckpoint(folder, "full");
    assert.ok(checkpoint.tensors.size > 50, folder);
    checkpoint.close();
  }
});

test("a missing folder, a file instead of one, and a folder without files are told apart", () => {
  refusesFolder(join(tmpdir(), "hadal-no-such-folder"), "", /there is no such folder/);
  withFolder(
    single,
    (folder) => refusesFolder(join(folder, "model.safetensors"), "", /it is a file, the folder/),
  );
  withFolder(
    single,
    (folder) => refusesFolder(join(folder, "config.json", "x"), "", /there is no such folder/),
  );
  refuses({}, "", /it holds no config\.json$/);
  refuses(
    { "config.json": {} },
    "",
    /no weights, neither model\.safetensors nor model\.safetensors\.index\.json$/,
  );
  refusesFolder("\0", "", /\bnull?\b/i);
});

test("weights in another format are named", () => {
  for (const name of ["model.h5", "model.onnx", "weights.npz"]) {
    refuses(
      { "config.json": {}, [name]: "x" },
      "",
      new RegExp(`it has ${name}, a format that is not supported yet`),
    );
  }
  refuses(
    { "model.gguf": "x" },
    "",
    /no config\.json; it has model\.gguf, which is a model by itself: its own path works/,
  );
});

test("a shard that is missing or truncated is named with what was claimed and found", () => {
  const { "b.safetensors": _, ...without } = sharded;
  refuses(without, "b.safetensors", /there is no such file, model\.safetensors\.index\.json names it/);
  refuses(
    { ...sharded, "b.safetensors": shardB.slice(0, -1) },
    "b.safetensors",
    new RegExp(`ends at byte ${shardB.length}, the file holds ${shardB.length - 1}`),
  );
});

test("an index cannot name files outside the folder", () => {
  const names = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "sub/a.safetensors",
    "./a.safetensors",
    "..\\a.safetensors",
    "C:\\a.safetensors",
    "C:a.safetensors",
    "a.safetensors\0",
    "\0.safetensors",
    "../a.safetensors",
    "x".repeat(300) + ".safetensors",
    "a.bin",
  ];
  for (const name of names) {
    refuses(
      { ...sharded, "model.safetensors.index.json": index({ a: name }) },
      "model.safetensors.index.json",
      /tensor "a" is in ".*", a \.safetensors file of the folder itself is needed/,
    );
  }
});

test("an index that is no index is refused", () => {
  const file = "model.safetensors.index.json";
  for (
    const text of [
      "",
      "[]",
      "null",
      "{",
      '{"weight_map":[]}',
      '{"weight_map":{"a":1}}',
      '{"weight_map":{"a":{}}}',
    ]
  ) {
    refuses({ ...sharded, [file]: text }, file, /found .*, needed/);
  }
  for (const text of ["{}", '{"weight_map":{}}']) {
    refuses({ ...sharded, [file]: text }, file, /names no tensor/);
  }
  refuses(
    { ...sharded, [file]: '{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}' },
    file,
    /key "a" twice/,
  );
  refuses(
    { ...sharded, [file]: '{"weight_map":{},"weight_map":{"a":"a.safetensors"}}' },
    file,
    /"weight_map" twice/,
  );
});

test("an index and its shards must agree on where tensors are", () => {
  const file = "model.safetensors.index.json";
  refuses(
    { ...sharded, [file]: index({ a: "a.safetensors", b: "a.safetensors" }) },
    file,
    /tensor "b" should be in a\.safetensors, it is in no shard/,
  );
  refuses(
    { ...sharded, [file]: index({ a: "b.safetensors", b: "a.safetensors" }) },
    file,
    /tensor "a" should be in b\.safetensors, it is in .*a\.safetensors/,
  );
});

test("a tensor in two shards is refused, and a repeated shard name is one shard", () => {
  refuses(
    { ...sharded, "b.safetensors": tensorFile({ b: ones, a: ones }) },
    "b.safetensors",
    /tensor "a" is also in .*a\.safetensors/,
  );
  const both = { "a.safetensors": tensorFile({ a: ones, b: ones }) };
  const files = {
    ...sharded,
    ...both,
    "model.safetensors.index.json": index({ a: "a.safetensors", b: "a.safetensors" }),
  };
  withFolder(files, (folder) => {
    const checkpoint = openCheckpoint(folder);
    assert.equal(checkpoint.tensors.size, 2);
    checkpoint.close();
  });
});

test("a wrong total_size and unknown keys of an index are passed over, as transformers does", () => {
  const wrong = index({ a: "a.safetensors", b: "b.safetensors" }, {
    metadata: { total_size: -1.5, x: [] },
    y: null,
  });
  withFolder(
    { ...sharded, "model.safetensors.index.json": wrong },
    (folder) => openCheckpoint(folder).close(),
  );
});

test("tensors that a shard holds beyond the index are there", () => {
  withFolder({ ...sharded, "b.safetensors": tensorFile({ b: ones, extra: ones }) }, (folder) => {
    const checkpoint = openCheckpoint(folder);
    assert.ok(checkpoint.tensors.has("extra"));
    checkpoint.close();
  });
});

test("a config.json of a gigabyte, of no JSON or of no UTF-8 is refused", () => {
  const folder = folderOf({ "model.safetensors": shardA });
  try {
    writeSparse(join(folder, "config.json"), new Uint8Array(0), 2 ** 30);
    refusesFolder(folder, "config.json", /it has 1073741824 bytes, at most 10000000 are read/);
  } finally {
    rmSync(folder, { recursive: true });
  }
  for (
    const text of [
      "",
      "{",
      '{"hidden_size": NaN}',
      '{"x": Infinity}',
      "{}{}",
      "\ufeff{}",
      "[".repeat(1_000_000),
    ]
  ) {
    refuses({ ...single, "config.json": text }, "config.json", /no JSON/);
  }
  refuses({ ...single, "config.json": new Uint8Array([0x22, 0xff, 0x22]) }, "config.json", /not UTF-8/);
});

test("links that leave the folder are refused, those of a Hugging Face cache are followed", () => {
  const cache = mkdtempSync(join(tmpdir(), "hadal-test-"));
  try {
    const snapshot = join(cache, "models--x--y", "snapshots", "f".repeat(40));
    const blobs = join(cache, "models--x--y", "blobs");
    mkdirSync(snapshot, { recursive: true });
    mkdirSync(blobs);
    const blobOf = (name: string, digits: number, content: string | Uint8Array) => {
      const blob = (name.length % 16).toString(16).repeat(digits);
      writeFileSync(join(blobs, blob), content);
      symlinkSync(join("..", "..", "blobs", blob), join(snapshot, name));
    };
    blobOf("config.json", 40, "{}");
    blobOf("model.safetensors", 64, shardA);
    openCheckpoint(snapshot).close();
    // Its user may reach the folder by a link, and link within it.
    symlinkSync(snapshot, join(cache, "link"));
    openCheckpoint(join(cache, "link")).close();
    symlinkSync("config.json", join(snapshot, "generation_config.json"));
    assert.deepEqual(readModelJson(snapshot, "generation_config.json"), {});

    writeFileSync(join(cache, "secret"), shardA);
    for (const target of [join(cache, "secret"), "../../../secret", "../../blobs/../../secret"]) {
      rmSync(join(snapshot, "model.safetensors"));
      symlinkSync(target, join(snapshot, "model.safetensors"));
      refusesFolder(snapshot, "model.safetensors", /it is a link that leads outside the folder/);
    }
  } finally {
    rmSync(cache, { recursive: true });
  }
});

test("links in a circle, folders and pipes in place of files are refused without waiting", () => {
  const folder = folderOf({ "config.json": {} });
  const path = join(folder, "model.safetensors");
  try {
    mkdirSync(path);
    refusesFolder(folder, "model.safetensors", /no regular file/);
    rmSync(path, { recursive: true });
    symlinkSync("model.safetensors", path);
    refusesFolder(folder, "model.safetensors", /ELOOP|symbolic links/);
    rmSync(path);
    if (spawnSync("mkfifo", [path]).status === 0) {
      refusesFolder(folder, "model.safetensors", /no regular file/);
    } else console.log("NOTE: mkfifo is not on this machine: no pipe was tried");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a file without permission to read is refused with that reason", () => {
  withFolder(single, (folder) => {
    const program = `
      import { openCheckpoint } from ${
      JSON.stringify(new URL("../../src/checkpoint/open.ts", import.meta.url).href)
    };
      try { openCheckpoint(${
      JSON.stringify(folder)
    }); } catch (error) { console.log(error.name, error.message); }`;
    const deno = spawnSync("deno", ["eval", "--help"]);
    if (deno.status !== 0) {
      return console.log("NOTE: deno is not on this machine: no permission was withheld");
    }
    const script = join(folder, "program.ts");
    writeFileSync(script, program);
    const output = spawnSync("deno", ["run", "--no-prompt", "--no-check", "--deny-read", script], {
      encoding: "utf8",
    });
    assert.match(output.stdout, /^CheckpointError Cannot read .*: Requires read access/);
  });
});

test("folders that were closed or refused leave no file open", () => {
  const descriptors = "/proc/self/fd";
  if (!existsSync(descriptors)) {
    return console.log(`NOTE: ${descriptors} is not on this machine: not counted`);
  }
  withFolder(sharded, (folder) => {
    withFolder({ ...sharded, "b.safetensors": safetensors("{") }, (broken) => {
      openCheckpoint(folder).close(); // whatever the runtime opens for itself
      const before = readdirSync(descriptors).length;
      for (let i = 0; i < 20; i++) {
        openCheckpoint(folder).close();
        assert.throws(() => openCheckpoint(broken), CheckpointError);
      }
      assert.ok(readdirSync(descriptors).length < before + 10);
    });
  });
});
