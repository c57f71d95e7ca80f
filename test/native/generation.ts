/**
 * What is recorded of minnow: a prompt and 32 tokens on two threads, on every instruction set of this
 * machine, with weights as they are stored (fp8) and in int8, the cache in f32 and in int8, activations
 * rounded as in use.
 * @module
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { cpuBackends } from "../backends.ts";
import { aloneOn, largest, openNetwork } from "../model/golden.ts";

const nTokens = 32;
const folder = fileURLToPath(new URL("../../examples/minnow", import.meta.url));
const [{ ids }] = JSON.parse(readFileSync(new URL("../golden/minnow.json", import.meta.url), "utf8"));

for (const { name, open } of await cpuBackends({ threads: 2, exact: false })) {
  for (const format of ["auto", "int8"] as const) {
    for (const dtype of ["f32", "int8"] as const) {
      const backend = await open();
      const sequence = aloneOn(openNetwork(folder, backend, format), ids.length + nTokens, dtype);
      let logits = sequence.prompt(Int32Array.from(ids)).subarray(-sequence.network.config.vocabSize);
      const said: number[] = [];
      while (said.length < nTokens) {
        said.push(largest(logits));
        logits = sequence.generated(said[said.length - 1]);
      }
      backend.close();
      console.log(`${name}, weights ${format}, cache ${dtype}: ${said.join(" ")}`);
    }
  }
}
