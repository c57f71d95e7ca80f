import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { decode } from "../../src/checkpoint/decode.ts";
import { openModelFile } from "../../src/checkpoint/file.ts";
import { readSafetensors } from "../../src/checkpoint/safetensors.ts";
import { parseConfig } from "../../src/model/config.ts";
import { openModel } from "../../src/model/open_model.ts";
import { planWeights } from "../../src/model/weight_plan.ts";
import { loadNetwork } from "../../src/model/weights.ts";
import { everyBackend } from "../backends.ts";
import { type Answers, assertSameAnswers, openGoldenFolder } from "./golden.ts";

const fixtures = fileURLToPath(new URL("../../../shared/fixtures/", import.meta.url));
/** Files, and the formats that their matrices of blocks are in once they are loaded. */
const files: Readonly<Record<string, readonly string[]>> = {
  "v2lite-f32": ["f32"],
  "v2lite-f32-legacy": ["f32"],
  "v3-f32": ["f32"],
  "v3-f32-legacy": ["f32"],
  "v2lite-f16": ["f16", "f32"],
  "v2lite-bf16": ["bf16", "f32"],
  "v2lite-q8_0": ["f32", "q8_0"],
  "v2lite-q4_0": ["f32", "q4_0"],
  "v2lite-q5_1": ["f32", "q5_1"],
  "kquant-q4_k_m": ["f32", "q4_k", "q5_k", "q6_k"],
};

/** The golden data beside a GGUF file, or of the model that it says it is. */
function goldenOf(name: string): Answers {
  const json = JSON.parse(readFileSync(`${fixtures}gguf/${name}.golden.json`, "utf8"));
  if (json.same_as !== undefined) return openGoldenFolder(fixtures + json.same_as);
  const file = openModelFile(`${fixtures}gguf`, `${name}.golden.safetensors`);
  const tensors = new Map(readSafetensors(file, "basic").map((tensor) => [tensor.name, tensor]));
  const values = new Map(
    ["short.logits", "long.logits"].map((key) => {
      const { offset, sizeBytes } = tensors.get(key)!;
      return [key, decode("F32", file.read(offset, sizeBytes))];
    }),
  );
  file.close();
  return {
    prompts: ["short", "long"].map((prompt) => ({
      name: prompt,
      tokens: Int32Array.from(json.prompts[prompt]),
      greedy: json.greedy[prompt].tokens,
    })),
    floats: (key) => values.get(key)!,
  };
}

if (!existsSync(`${fixtures}gguf`)) {
  console.log("NOTE: ../shared/fixtures/gguf is not here: no GGUF file is held against the official network");
} else {
  for (const { name: backendName, open } of await everyBackend()) {
    for (const [name, formats] of Object.entries(files)) {
      test(`${name}.gguf on ${backendName} says what the official network says with its numbers`, async () => {
        const golden = goldenOf(name);
        const backend = await open();
        const checkpoint = openModel(`${fixtures}gguf/${name}.gguf`, { widens: true });
        try {
          const config = parseConfig(checkpoint.config, name);
          const found = new Set(planWeights(checkpoint, config, "auto").map(({ format }) => format));
          const network = loadNetwork(checkpoint, config, backend);
          assert.deepEqual([...found].sort(), formats);
          assertSameAnswers(network, golden);
        } finally {
          checkpoint.close();
          backend.close();
        }
      });
    }
  }
}
