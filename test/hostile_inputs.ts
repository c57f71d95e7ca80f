/**
 * Models that somebody made to cost as much as they can: small on the disk, or large by what they claim, nest
 * or repeat. Each is refused like those of bad_inputs.ts.
 */
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, openSync, symlinkSync, writeSync } from "node:fs";
import {
  type Bad,
  changedConfig,
  changedTokenizer,
  configText,
  gguf,
  head,
  index,
  program,
  tensors,
  tokenizer,
  torch,
  vocabulary,
} from "./bad_inputs.ts";
import { ggufFile } from "./checkpoint/gguf_file.ts";
import { pickle, torchFile, zip } from "./checkpoint/pickle/write_torch.ts";
import { safetensors, writeSparse } from "./checkpoint/write_safetensors.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const sparse = (start: string, size: number) => (path: string) => writeSparse(path, utf8(start), size);
const repeated = (piece: string, size: number) => piece.repeat(Math.ceil(size / piece.length));
const many = (count: number, entry: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => entry(i)).join(",");
const f32 = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
const settings = (files: Bad["files"], file: string): Bad => ({ files, file });

/** GGUF files whose arrays of zeros lie in holes: bytes written here cost the disk nothing. */
function sparseArrays(count: number, length: number): (path: string) => void {
  return (path) => {
    const descriptor = openSync(path, "w");
    const start = ggufFile({ nKeys: BigInt(count), metadata: [] });
    writeSync(descriptor, start.subarray(0, 24), 0, 24, 0);
    let at = 24;
    for (let i = 0; i < count; i++) {
      const entry = new Uint8Array(8 + 6 + 4 + 4 + 8);
      const view = new DataView(entry.buffer);
      view.setBigUint64(0, 6n, true);
      entry.set(utf8(String(i).padStart(6, "0")), 8);
      view.setUint32(14, 9, true); // an array
      view.setUint32(18, 0, true); // of u8
      view.setBigUint64(22, BigInt(length), true);
      writeSync(descriptor, entry, 0, entry.length, at);
      at += entry.length + length;
    }
    ftruncateSync(descriptor, at);
    closeSync(descriptor);
  };
}
const ggufOf = (content: Bad["files"][string]): Bad => ({
  files: { "model.safetensors": null, "config.json": null, "model.gguf": content },
  file: "model.gguf",
});
const special = (make: (path: string) => void): Bad => tensors(make);
/** By what they do. */
export const hostile: Readonly<Record<string, () => Bad>> = {
  // Holes in files.
  "a header of 100 MB of zeros": () =>
    tensors((path) => writeSparse(path, safetensors("{", 0, 99_999_999n), 100_000_100)),
  "a terabyte of weights": () =>
    tensors((path) => writeSparse(path, safetensors(`{${'"a":'}${JSON.stringify(f32)}}`), 2 ** 40)),
  "an index of 100 MB of zeros": () => index(sparse('{"weight_map":', 99_000_000)),
  "a config.json of 10 MB of zeros": () => configText(sparse("{", 9_000_000)),
  "a tokenizer.json of 499 MB of zeros": () => vocabulary(sparse("{", 499_000_000)),
  "a tokenizer.json of 2 GB of zeros": () => vocabulary(sparse("{", 2 ** 31)),
  "a tokenizer_config.json of 499 MB of zeros": () =>
    settings({ "tokenizer_config.json": sparse("{", 499_000_000) }, "tokenizer_config.json"),
  "a template of 499 MB of zeros": () =>
    settings({ "chat_template.jinja": sparse("{", 499_000_000) }, "chat_template.jinja"),
  "arrays of nine hundred million zeros": () => ggufOf(sparseArrays(900, 1_000_000)),
  "a pickle of zeros": () => torch(zip([{ name: "x/data.pkl", bytes: new Uint8Array(4_000_000) }])),
  "a GGUF of zeros": () => ggufOf(sparse("GGUF\x03\0\0\0", 2 ** 40)),
  "an archive of zeros": () => ({
    ...torch(new Uint8Array(0)),
    files: { "model.safetensors": null, "pytorch_model.bin": sparse("PK\x03\x04", 2 ** 40) },
  }),
  // Many small things.
  "metadata of 100 000 keys": () => head(`{"__metadata__":{${many(100_000, (i) => `"${i}":""`)}}}`),
  "160 000 tensors, and then none": () =>
    head(`{${many(160_000, (i) => `"${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`)},`),
  "config.json of three million objects": () => configText(`{"a":[${repeated("{},", 9_000_000)}{}]}`),
  "config.json of 400 000 keys": () => configText(`{${many(400_000, (i) => `"${i}":0`)}}`),
  "a tokenizer of empty objects": () => vocabulary(`{"version":[${repeated("{},", 12_000_000)}{}]}`),
  "a tokenizer_config of empty objects": () =>
    settings(
      { "tokenizer_config.json": `{"a":[${repeated("{},", 9_000_000)}{}]}` },
      "tokenizer_config.json",
    ),
  "a vocabulary of 600 000": () =>
    vocabulary(`{"model":{"type":"BPE","vocab":{${many(600_000, (i) => `"${i}":${i}`)}},"merges":[]}}`),
  "two million merges": () =>
    changedTokenizerText((text) =>
      text.replace(/"merges":\[/, `"merges":[${repeated('"! !",', 12_000_000)}`)
    ),
  "200 000 added tokens": () =>
    changedTokenizerText((text) =>
      text.replace(
        /"added_tokens":\[/,
        `"added_tokens":[${many(200_000, (i) => `{"id":${i},"content":"${i}"}`)},`,
      )
    ),
  "three arrays of 300 000 strings": () => gguf(manyStrings(3, 300_000)),
  "an archive of 60 000 entries": () => torch(manyEntries(60_000)),
  // Nesting.
  "config.json nested 200 000 deep": () => configText(`{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}`),
  "config.json of objects nested 200 000 deep": () =>
    configText(`${'{"a":'.repeat(200_000)}1${"}".repeat(200_000)}`),
  "a tokenizer nested 200 000 deep": () =>
    vocabulary(`{"normalizer":${"[".repeat(200_000)}${"]".repeat(200_000)}}`),
  "a header nested 200 000 deep": () => head(`{"a":{"x":${"[".repeat(200_000)}${"]".repeat(200_000)}}}`),
  "an index nested 200 000 deep": () => index(`{"metadata":${"[".repeat(200_000)}${"]".repeat(200_000)}}`),
  "a pickle of 60 000 lists in themselves": () =>
    program(
      "EMPTY_LIST",
      "MEMOIZE",
      Array.from({ length: 120_000 }, (_, i) => i % 2 ? 0x61 : [0x68, 0]).flat(),
      "STOP",
    ),
  // Long things.
  "an added token of a million letters": () =>
    changedTokenizer((file) => file.added_tokens[0].content = "x".repeat(1_000_000)),
  "an added token of an id of 2^31": () => changedTokenizer((file) => file.added_tokens[0].id = 2 ** 31),
  "a tensor with a name of 10 MB": () =>
    head(`{"${"x".repeat(10_000_000)}":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}`),
  "a dtype of 10 MB": () =>
    head(`{"a":{"dtype":"${"x".repeat(10_000_000)}","shape":[2],"data_offsets":[0,8]}}`),
  "a model_type of 9 MB": () => changedConfig({ model_type: "x".repeat(9_000_000) }),
  "a shard with a name of 10 MB": () => index({ a: "x".repeat(10_000_000) + ".safetensors" }),
  "a shape of 200 000 dimensions": () =>
    head(`{"a":{"dtype":"F32","shape":[${many(200_000, () => "1")}],"data_offsets":[0,8]}}`),
  "an eos_token_id of 200 000": () =>
    changedConfig({ eos_token_id: Array.from({ length: 190_000 }, (_, i) => -i) }),
  // What is no file.
  "a named pipe": () => special((path) => execFileSync("mkfifo", [path])),
  "a folder": () => special((path) => mkdirSync(path)),
  "a device": () => special((path) => symlinkSync("/dev/zero", path)),
  "a link to itself": () => special((path) => symlinkSync(path, path)),
  "a named pipe as config.json": () => configText((path) => execFileSync("mkfifo", [path])),
  "a named pipe as tokenizer.json": () => vocabulary((path: string) => execFileSync("mkfifo", [path])),
  "a named pipe as template": () =>
    settings({ "chat_template.jinja": (path) => execFileSync("mkfifo", [path]) }, "chat_template.jinja"),
  "a named pipe as GGUF": () => ggufOf((path) => execFileSync("mkfifo", [path])),
  "a named pipe as an archive": () => ({
    ...torch(new Uint8Array(0)),
    files: { "model.safetensors": null, "pytorch_model.bin": (path) => execFileSync("mkfifo", [path]) },
  }),
  "a named pipe as an index": () => index((path: string) => execFileSync("mkfifo", [path])),
};

function changedTokenizerText(change: (text: string) => string): Bad {
  return vocabulary(change(JSON.stringify(tokenizer)));
}

function manyStrings(nArrays: number, length: number): Uint8Array {
  const entry = new Uint8Array(8 + 2 + 4 + 4 + 8 + length * 10);
  const out = new Uint8Array(24 + nArrays * entry.length);
  out.set(ggufFile({ nKeys: BigInt(nArrays), metadata: [] }).subarray(0, 24));
  for (let i = 0; i < nArrays; i++) {
    const view = new DataView(entry.buffer);
    view.setBigUint64(0, 2n, true);
    entry.set(utf8(String(10 + i)), 8);
    view.setUint32(10, 9, true);
    view.setUint32(14, 8, true);
    view.setBigUint64(18, BigInt(length), true);
    for (let n = 0, at = 26; n < length; n++, at += 10) {
      view.setBigUint64(at, 2n, true);
      view.setUint16(at + 8, 0x6161 + n % 20, true);
    }
    out.set(entry, 24 + i * entry.length);
  }
  return out;
}

function manyEntries(count: number): Uint8Array {
  const first = torchFile(pickle("EMPTY_DICT", "STOP"), {});
  return zip(
    [
      { name: "x/data.pkl", bytes: first },
      ...Array.from({ length: count }, (_, i) => ({ name: `x/${i}`, bytes: new Uint8Array(0) })),
    ],
    { isZip64: true },
    1,
  );
}
