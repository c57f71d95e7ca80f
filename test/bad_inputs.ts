/**
 * Models that are broken in each way of a list.
 *
 * The numbers are those of the list of bad inputs that the house was built against: safetensors 1 to 16,
 * index and config 17 to 26, GGUF 27 to 42, pickle and zip 43 to 52, tokenizer 53 to 59. The parsers' own
 * tests go further into each. Not errors, as other programs accept them: a wrong total_size (20), shards
 * named twice (21), names that mean something in JavaScript (10), empty tensors and scalars (15), `auto_map`
 * (26).
 */
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readModelJson } from "../src/checkpoint/file.ts";
import { readFolderText } from "../src/folder_text.ts";
import { parseConfig } from "../src/model/config.ts";
import { parseGenerationConfig } from "../src/model/generation_config.ts";
import { openModel } from "../src/model/open_model.ts";
import { planWeights } from "../src/model/weight_plan.ts";
import { type FileParts, ggufFile } from "./checkpoint/gguf_file.ts";
import { pickle, type Piece, torchFile, zip } from "./checkpoint/pickle/write_torch.ts";
import { safetensors, writeSparse } from "./checkpoint/write_safetensors.ts";

const sound = fileURLToPath(new URL("./golden/v2lite/", import.meta.url));
const soundBytes = (name: string) => new Uint8Array(readFileSync(join(sound, name)));
const weights = soundBytes("model.safetensors");
const headerBytes = Number(new DataView(weights.buffer).getBigUint64(0, true));
const header = JSON.parse(new TextDecoder().decode(weights.subarray(8, 8 + headerBytes)));
export const config = JSON.parse(readFileSync(join(sound, "config.json"), "utf8"));
export const tokenizer = JSON.parse(readFileSync(join(sound, "tokenizer.json"), "utf8"));

/** What stands in a folder in place of the sound file; null: nothing. A function makes it itself. */
export type Content = Uint8Array | string | null | ((path: string) => void);
export interface Bad {
  readonly files: Readonly<Record<string, Content>>;
  /** The file that the message names. */
  readonly file: string;
}

const first = "model.embed_tokens.weight";
const one = (name: string, entry: unknown) => `"${name}":${JSON.stringify(entry)}`;
const f32 = { dtype: "F32", shape: [2], data_offsets: [0, 8] };

export const tensors = (bytes: Content): Bad => ({
  files: { "model.safetensors": bytes },
  file: "model.safetensors",
});
export const head = (text: string | Uint8Array, data = 8): Bad => tensors(safetensors(text, data));
/** The sound weights with another header. */
const changedHeader = (
  change: (header: Record<string, { data_offsets: number[]; shape: number[]; dtype: string }>) => void,
): Bad => {
  const next = structuredClone(header);
  change(next);
  return tensors(safetensors(JSON.stringify(next), weights.subarray(8 + headerBytes)));
};
export const configText = (text: Content): Bad => ({ files: { "config.json": text }, file: "config.json" });
export const changedConfig = (change: Record<string, unknown>): Bad =>
  configText(JSON.stringify({ ...config, ...change }));
export const index = (map: unknown, more: Record<string, Content> = {}): Bad => ({
  files: {
    "model.safetensors": null,
    "model.safetensors.index.json": typeof map === "string" || typeof map === "function"
      ? map as Content
      : JSON.stringify({ weight_map: map }),
    ...more,
  },
  file: "model.safetensors.index.json",
});
export const gguf = (parts: FileParts | Uint8Array): Bad => ({
  files: {
    "model.safetensors": null,
    "config.json": null,
    "model.gguf": parts instanceof Uint8Array ? parts : ggufFile(parts),
  },
  file: "model.gguf",
});
export const torch = (bytes: Uint8Array): Bad => ({
  files: { "model.safetensors": null, "pytorch_model.bin": bytes },
  file: "pytorch_model.bin",
});
export const program = (...pieces: readonly Piece[]): Bad =>
  torch(torchFile(pickle(...pieces), { 0: new Uint8Array(24) }));
export const vocabulary = (text: Content): Bad => ({
  files: { "tokenizer.json": text },
  file: "tokenizer.json",
});
// deno-lint-ignore no-explicit-any
export const changedTokenizer = (change: (file: any) => void): Bad => {
  const next = structuredClone(tokenizer);
  change(next);
  return vocabulary(JSON.stringify(next));
};
const factors = (bytes: Float32Array | null, shape = [1, 1]): Bad => {
  const quantization_config = { quant_method: "fp8", weight_block_size: [128, 128] };
  const next = structuredClone(header);
  const name = "model.layers.0.self_attn.o_proj.weight", [begin, end] = next[name].data_offsets;
  const [rows, width] = next[name].shape;
  // A matrix in fp8 where there was one in f32, and its factor behind it.
  next[name] = { dtype: "F8_E4M3", shape: [rows, width], data_offsets: [begin, begin + rows * width] };
  if (bytes) {
    next[`${name}_scale_inv`] = {
      dtype: "F32",
      shape,
      data_offsets: [begin + rows * width, begin + rows * width + 4 * bytes.length],
    };
  }
  const used = begin + rows * width + (bytes?.byteLength ?? 0);
  next.rest = { dtype: "U8", shape: [end - used], data_offsets: [used, end] };
  const data = weights.slice(8 + headerBytes);
  if (bytes) data.set(new Uint8Array(bytes.buffer), begin + rows * width);
  return {
    files: {
      "config.json": JSON.stringify({ ...config, quantization_config }),
      "model.safetensors": safetensors(JSON.stringify(next), data),
    },
    file: "",
  };
};
const huge = [2n ** 63n - 1n, 2n ** 64n - 1n, 2n ** 61n + 1n];
const plain = { name: "t", shape: [4], bytes: new Uint8Array(16) };

export const cases: Readonly<Record<number, readonly Bad[]>> = {
  1: [tensors(new Uint8Array(0))],
  2: [tensors(new Uint8Array(7))],
  3: [tensors(safetensors("{}", 0, 2n ** 64n - 1n))],
  4: [tensors((path) => writeSparse(path, safetensors("{", 0, 100_000_001n), 100_000_100))],
  5: [tensors(safetensors("{}", 0, 1000n)), tensors(weights.subarray(0, 1000))],
  6: [head(` {${one("a", f32)}}`), head(`\ufeff{${one("a", f32)}}`), head("[]", 0), head("null", 0)],
  7: [head(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a), 0)],
  8: [head(`{${one("a", f32)}`), head('{"a":', 0), head(`{${one("a", f32)}}x`)],
  9: [
    head(`{${one("a", f32)},${one("a", f32)}}`),
    head('{"a":{"dtype":"F32","dtype":"U8","shape":[2],"data_offsets":[0,8]}}'),
    head(`{${one("a", f32)},"\\u0061":${JSON.stringify(f32)}}`),
  ],
  10: [head(`{${one("__proto__", f32)}}`), head(`{${one("constructor", f32)}}`)].map(({ files }) => ({
    files,
    file: "",
  })),
  11: ["[8,0]", "[-4,4]", "[0,8.0]", '["0","8"]', "[0,9007199254740993]", "[0,1e400]", "[0]", "null"].map((
    offsets,
  ) => head(`{"a":{"dtype":"F32","shape":[2],"data_offsets":${offsets}}}`)),
  12: [
    changedHeader((header) => header[first].data_offsets[1] += 1),
    head(`{${one("a", f32)},${one("b", { ...f32, data_offsets: [7, 15] })}}`, 15),
  ],
  13: [
    head(`{${one("a", f32)}}`, 9),
    head(`{${one("a", { ...f32, data_offsets: [4, 12] })}}`, 12),
    head(`{${one("a", f32)},${one("b", { ...f32, data_offsets: [9, 17] })}}`, 17),
  ],
  14: [
    ...[[3], [4194305, 4194305, 211106198978564], [-2], [1.5], [2 ** 53, 2 ** 53]].map((shape) =>
      head(`{${one("a", { ...f32, shape })}}`)
    ),
    changedHeader((header) => header[first].shape[0] -= 1),
  ],
  15: [
    head(`{${one("a", { ...f32, dtype: "F31" })}}`),
    head(`{${one("a", { dtype: "F4", shape: [3], data_offsets: [0, 1] })}}`, 1),
  ],
  16: [head(`{"__metadata__":{"a":1},${one("a", f32)}}`), head(`{"a":${"[".repeat(1_000_000)}`, 0)],
  17: ["../../etc/passwd", "/etc/passwd", "C:\\x.safetensors", "\0.safetensors", "sub/x.safetensors"].map((
    shard,
  ) => index({ [first]: shard }))
    .concat([{
      ...index({ [first]: "x.safetensors" }, { "x.safetensors": (path) => symlinkSync("/etc/passwd", path) }),
      file: "x.safetensors",
    }]),
  18: [{ ...index({ [first]: "x.safetensors" }), file: "x.safetensors" }],
  19: [{
    ...index({ [first]: "a.safetensors", b: "b.safetensors" }, {
      "a.safetensors": weights,
      "b.safetensors": weights,
    }),
    file: ".safetensors",
  }],
  21: [
    index("{"),
    index("[]"),
    index({}),
    index({ a: 1 }),
    index(`{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}`, { "a.safetensors": weights }),
  ]
    .map((bad) => bad),
  22: [
    configText((path) => writeSparse(path, new TextEncoder().encode("{"), 2 ** 30)),
    ...[
      "[]",
      "null",
      "",
      "{",
      '{"rms_norm_eps":NaN}',
      '{"model_type":"deepseek_v2","a":1,"a":1}',
      "[".repeat(100_000),
      Uint8Array.of(0xff),
    ].map(
      configText,
    ),
  ],
  23: [
    { hidden_size: 0 },
    { hidden_size: 2 ** 31 },
    { num_attention_heads: 0 },
    { n_routed_experts: 0 },
    { num_experts_per_tok: 9 },
    { topk_method: "group_limited_greedy", n_group: 0 },
    { topk_method: "group_limited_greedy", n_group: 2, topk_group: 3 },
    { num_hidden_layers: 1e9 },
    { vocab_size: -1 },
    { moe_layer_freq: 0 },
  ].map(changedConfig),
  24: [
    { kv_lora_rank: 0 },
    { kv_lora_rank: null },
    { q_lora_rank: 0 },
    { rope_scaling: { ...config.rope_scaling, factor: 0 } },
    { rope_scaling: { ...config.rope_scaling, factor: "NaN" } },
    { rope_scaling: { type: "dynamic", factor: 2 } },
  ].map(changedConfig),
  25: [
    ...[[0, 0], [1, 3], 128, null].map((size) =>
      changedConfig({ quantization_config: { quant_method: "fp8", weight_block_size: size } })
    ),
    factors(null),
    factors(Float32Array.of(1), [1]),
    factors(Float32Array.of(1, 1), [1, 2]),
    factors(Float32Array.of(NaN)),
    factors(Float32Array.of(Infinity)),
  ],
  26: [{ ...changedConfig({ vocab_size: 513 }), file: "model.safetensors" }, {
    ...changedConfig({ num_hidden_layers: 4 }),
    file: "",
  }],
  27: [gguf({ magic: "GGML" }), gguf(new Uint8Array(3)), gguf(new Uint8Array(0))],
  28: [0, 1, 4, 3 << 24].map((version) => gguf({ version })),
  29: huge.map((nTensors) => gguf({ nTensors })),
  30: huge.map((nKeys) => gguf({ nKeys })),
  31: [gguf({ metadata: [["", ["u8", 1]]] }), gguf({ metadata: [["a", ["u8", 1]], ["a", ["u8", 1]]] })],
  32: [gguf({ metadata: [["a", [13, 0]]] }), gguf({ metadata: [["a", ["bool", 2]]] })],
  33: [0, 1, 3, 13, 2 ** 31].map((alignment) =>
    gguf({ metadata: [["general.alignment", ["u32", alignment]]], tensors: [plain] })
  )
    .concat([
      gguf({ metadata: [["general.alignment", ["i32", 32]]] }),
      gguf({ metadata: [["general.alignment", ["string", "32"]]] }),
    ]),
  34: huge.map((claimed) => gguf({ metadata: [["a", ["array", "string", ["b"], claimed]]] })),
  35: [gguf({ metadata: [["a", ["array", "array", []]]] })],
  36: [gguf({ metadata: [["a", ["array", "u8", [], 1_000_001n]]] })],
  37: [0, 5, 2 ** 32 - 1].map((nDimensions) => gguf({ tensors: [{ ...plain, nDimensions }] })),
  38: [[4194305, 4194305, 211106198978564n], [2 ** 32, 2 ** 32], [2n ** 62n - 1n]].map((shape) =>
    gguf({ tensors: [{ name: "t", shape }] })
  ),
  39: [gguf({ tensors: [{ name: "t", shape: [2, 48], type: 8, bytes: new Uint8Array(102) }] })],
  40: [16n, 1n << 20n, 2n ** 63n].map((offset) => gguf({ tensors: [{ ...plain, offset }] }))
    .concat([
      gguf({ tensors: [plain, { ...plain, name: "u", offset: 0n }] }),
      gguf({ tensors: [plain], cut: 1 }),
    ]),
  41: [4, 9, 2 ** 31].map((type) => gguf({ tensors: [{ ...plain, type }] })),
  42: [
    gguf({ metadata: [["split.no", ["u16", 3]], ["split.count", ["u16", 3]]] }),
    gguf({ metadata: [["split.no", ["u16", 0]], ["split.count", ["u16", 3]]] }),
    gguf({
      metadata: [["general.architecture", ["string", "deepseek2"]], ["tokenizer.ggml.tokens", [
        "array",
        "u8",
        [1],
      ]]],
    }),
    gguf({ metadata: [["general.architecture", ["u8", 1]]] }),
    gguf({ metadata: [["general.architecture", ["string", "llama"]]] }),
  ],
  43: [
    program({ global: "os.system" }, "MARK", { text: "touch PWNED" }, "TUPLE", "REDUCE", "STOP"),
    program({ text: "os" }, { text: "system" }, "STACK_GLOBAL", "STOP"),
  ],
  44: [
    program("MARK", [0x69]),
    program("MARK", [0x6f]),
    program([0x81]),
    program({ text: "x" }, "EMPTY_TUPLE", "REDUCE", "STOP"),
    program("EMPTY_LIST", "EMPTY_DICT", "BUILD", "STOP"),
  ],
  45: [
    program([0xff]),
    program([0x80, 1]),
    program(),
    program("STOP"),
    program([0x6a, 0, 0, 0, 0x80]),
    program(...Array.from({ length: 1001 }, () => "MARK" as const)),
    program([0x8b, 0xff, 0xff, 0xff, 0x7f]),
    program("EMPTY_DICT", "MEMOIZE", { text: "model" }, [0x68, 0], "SETITEM", "STOP"),
  ],
  46: [program({ text: "x" }, "BINPERSID", "STOP"), program("EMPTY_TUPLE", "BINPERSID", "STOP")],
  49: [
    torch(zip([{ name: "x/data.pkl", bytes: pickle("NONE", "STOP"), method: 8 }])),
    torch(zip([{ name: "x/data.pkl", bytes: pickle("NONE", "STOP"), flags: 1 }])),
    torch(zip([{ name: "x/data.pkl", bytes: pickle("NONE", "STOP"), localName: "x/data.pkk" }])),
    torch(zip([{ name: "x/data.pkl", bytes: pickle("NONE", "STOP") }], { count: 2 })),
    torch(zip([{ name: "x/data.pkl", bytes: pickle("NONE", "STOP") }], { isZip64: true, count: 2 ** 40 })),
  ],
  50: [torch(pickle("NONE", "STOP")), torch(new Uint8Array(600).fill(0x75, 257, 262))],
  51: [program("EMPTY_DICT", { global: "builtins.eval" }, "STOP")],
  53: [
    vocabulary(""),
    vocabulary("[]"),
    vocabulary('{"version":' + "[".repeat(1_000_000)),
    vocabulary('{"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}}'),
  ],
  54: [-1, 1.5, 2 ** 31 - 1, 4].map((id) => changedTokenizer((file) => file.model.vocab["!"] = id)),
  55: ["q z", "a b c", ["a"], "Ġth e", 7].map((merge) =>
    changedTokenizer((file) => file.model.merges[5] = merge)
  ),
  56: [
    changedTokenizer((file) => delete file.model.vocab["!"]),
    changedTokenizer((file) => file.model.vocab["a b"] = 600),
  ],
  57: ["(a+)+$", "(?<=x)y", "(", "\\p{L}".repeat(13_000)].map((Regex) =>
    changedTokenizer((file) =>
      file.pre_tokenizer = { type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }
    )
  ),
  58: [
    changedTokenizer((file) =>
      file.normalizer = { type: "Replace", pattern: { Regex: "(a+)+$" }, content: "" }
    ),
  ],
  59: [
    changedTokenizer((file) => file.added_tokens[0].content = ""),
    changedTokenizer((file) => file.added_tokens[0].id = -1),
  ],
};

/** The sound model with those files in place of its own. */
export function folderOf(parent: string, { files }: Bad): string {
  const folder = mkdtempSync(join(parent, "model-"));
  for (const name of readdirSync(sound)) {
    if (!(name in files) && !name.startsWith("golden")) {
      linkSync(join(soundCopy(parent), name), join(folder, name));
    }
  }
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === "function") content(join(folder, name));
    else if (content !== null) writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** On the same disk, so that links to it can be made. */
export function soundCopy(parent: string): string {
  const copy = join(parent, "sound");
  if (existsSync(copy)) return copy;
  mkdirSync(copy);
  for (const name of readdirSync(sound)) writeFileSync(join(copy, name), soundBytes(name));
  return copy;
}

/** All that loading checks, without a Worker, and the first prompt. */
export async function openAll(folder: string): Promise<void> {
  const checkpoint = openModel(folder, { validation: "full" });
  try {
    const config = parseConfig(checkpoint.config, checkpoint.configFile ?? join(folder, "config.json"));
    planWeights(checkpoint, config, "auto");
    parseGenerationConfig(
      readModelJson(folder, "generation_config.json"),
      join(folder, "generation_config.json"),
    );
  } finally {
    checkpoint.close();
  }
  const text = await readFolderText(folder, null);
  text?.template?.render([{ role: "user", content: "Hi" }]);
}
