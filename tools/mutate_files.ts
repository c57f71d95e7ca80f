/**
 * The parsers of model files, for mutate.ts.
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseSettings } from "../src/checkpoint/file.ts";
import type { Checkpoint, StoredTensor } from "../src/checkpoint/checkpoint.ts";
import { readGguf } from "../src/checkpoint/gguf.ts";
import { gather } from "../src/checkpoint/pickle/strided.ts";
import { readTorchFile, tensorsOf } from "../src/checkpoint/pickle/torch_file.ts";
import { readSafetensors } from "../src/checkpoint/safetensors.ts";
import { parseIndex } from "../src/checkpoint/shard_index.ts";
import { ggufTokenizerFiles } from "../src/gguf_text.ts";
import { withCodedMatrices } from "../src/model/coded_checkpoint.ts";
import { parseConfig } from "../src/model/config.ts";
import { parseGenerationConfig } from "../src/model/generation_config.ts";
import { ggufCheckpoint } from "../src/model/gguf_checkpoint.ts";
import { inferConfig } from "../src/model/infer_config.ts";
import { planWeights } from "../src/model/weight_plan.ts";
import { ChatTemplate } from "../src/text/chat_template.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { memoryFile } from "../test/checkpoint/write_safetensors.ts";
import { findCommit, readState } from "./mutate_hub.ts";
import type { Parser } from "./mutation.ts";
import { codedFiles, ggufFiles, pickleFiles } from "./mutate_seeds.ts";

const golden = fileURLToPath(new URL("../test/golden/v2lite/", import.meta.url));
const sound = (name: string) => new Uint8Array(readFileSync(join(golden, name)));
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const utf8 = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const tokenizer = Tokenizer.parse(sound("tokenizer.json"), text(sound("tokenizer_config.json")), "sound");

const parsed = (bytes: Uint8Array) => parseSettings(bytes, "memory");

/** @returns the tensors of a file in memory as a checkpoint */
function checkpointOf(bytes: Uint8Array, config: unknown): Checkpoint {
  const file = memoryFile(bytes);
  const tensors = new Map(readSafetensors(file, "basic").map((tensor) => [tensor.name, tensor]));
  const read = ({ offset, sizeBytes }: StoredTensor) =>
    file.read(offset, sizeBytes) as Uint8Array<ArrayBuffer>;
  return { folder: "memory", tensors, config, sizeBytes: bytes.length, read, close: () => {} };
}

function readCoded(checkpoint: Checkpoint): void {
  for (const matrix of withCodedMatrices(checkpoint, "memory/config.json").coded?.values() ?? []) {
    if (matrix.rows * matrix.width > 1 << 20) continue;
    matrix.exact()?.rows(0, matrix.rows);
    matrix.decode(0, matrix.rows);
  }
}

const gptqConfigs = codedFiles.map(({ config }) => config);

/** By name. */
export const fileParsers: Readonly<Record<string, Parser>> = {
  safetensors: {
    kind: "header",
    seeds: [sound("model.safetensors")],
    parse(bytes) {
      const file = memoryFile(bytes);
      for (const validation of ["basic", "none"] as const) {
        const tensors = readSafetensors(file, validation);
        for (const { offset, sizeBytes } of tensors) file.read(offset, sizeBytes);
        inferConfig(new Map(tensors.map((tensor) => [tensor.name, tensor])), "memory");
      }
    },
  },
  gguf: {
    seeds: ggufFiles,
    parse(bytes) {
      const file = memoryFile(bytes);
      const { metadata, tensors } = readGguf(file, "basic");
      for (const { offset, sizeBytes } of tensors) file.read(offset, sizeBytes);
      const model = {
        path: file.path,
        metadata,
        tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
        files: new Map([[file.path, file]]),
        close: () => {},
      };
      const files = ggufTokenizerFiles(model);
      if (files !== null) Tokenizer.parse(files.tokenizerJson, files.configJson, "memory");
      const checkpoint = ggufCheckpoint(model);
      planWeights(checkpoint, parseConfig(checkpoint.config, "memory"), "auto");
      for (const matrix of checkpoint.coded?.values() ?? []) {
        if (matrix.rows * matrix.width <= 1 << 20) matrix.decode(0, matrix.rows);
      }
    },
  },
  coded: {
    kind: "header",
    seeds: codedFiles.map(({ weights }) => weights),
    parse: (bytes, seed) => readCoded(checkpointOf(bytes, codedFiles[seed].config)),
  },
  coded_config: {
    kind: "json",
    seeds: gptqConfigs.map(utf8),
    parse: (bytes, seed) => readCoded(checkpointOf(codedFiles[seed].weights, parsed(bytes))),
  },
  pickle: {
    seeds: pickleFiles,
    parse(bytes) {
      const file = memoryFile(bytes);
      for (const tensor of tensorsOf(readTorchFile(file), file.path).values()) gather(file, tensor);
    },
  },
  tokenizer: {
    kind: "json",
    seeds: [sound("tokenizer.json")],
    parse(bytes) {
      const made = Tokenizer.parse(bytes, null, "memory");
      made.decode(made.encode("A text, 12345 字 and <｜User｜>\n\n  more."));
    },
  },
  config: {
    kind: "json",
    seeds: [sound("config.json"), ...gptqConfigs.map(utf8)],
    parse: (bytes) => void parseConfig(parsed(bytes), "memory"),
  },
  generation_config: {
    kind: "json",
    seeds: [sound("generation_config.json")],
    parse: (bytes) => void parseGenerationConfig(parsed(bytes), "memory"),
  },
  tokenizer_config: {
    kind: "json",
    seeds: [sound("tokenizer_config.json")],
    parse(bytes) {
      const template = ChatTemplate.parse(text(bytes), tokenizer);
      template?.render([{ role: "user", content: "Hi" }, { role: "assistant", content: "Yes?" }]);
    },
  },
  jinja: {
    seeds: [
      new TextEncoder().encode(JSON.parse(text(sound("tokenizer_config.json"))).chat_template),
      new TextEncoder().encode(
        "{% for m in messages %}{% if m.role == 'user' and loop.index0 % 2 < 3 %}{{ m['content'] | trim }}" +
          "{% else %}{{ m.content[::-1] ~ range(3) | join(',') }}{% endif %}{% endfor %}{{ x is defined }}" +
          "{% macro f(a, b=2) %}{{ a * b }}{% endmacro %}{{ f(3) }}{% set ns = namespace(n=0) %}{% set ns.n = 1 %}",
      ),
    ],
    parse(bytes) {
      const template = ChatTemplate.parse(text(sound("tokenizer_config.json")), tokenizer, text(bytes));
      template?.render([{ role: "user", content: "Hi" }, { role: "assistant", content: "Yes?" }]);
    },
  },
  index: {
    kind: "json",
    seeds: [
      utf8({ metadata: { total_size: 12 }, weight_map: { a: "a.safetensors", b: "b.safetensors" } }),
    ],
    parse: (bytes) => void parseIndex(bytes, "memory", ".safetensors"),
  },
  hub_state: {
    kind: "json",
    seeds: [utf8({ sizeBytes: 100, partBytes: 40, validator: '"abc"', done: [40, 7, 0] })],
    parse: (bytes, _, folder) => readState(folder, bytes),
  },
  hub_ref: {
    seeds: [new TextEncoder().encode("0123456789abcdef0123456789abcdef01234567")],
    parse: (bytes, _, folder) => findCommit(folder, bytes),
  },
};
