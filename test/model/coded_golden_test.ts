import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseConfig } from "../../src/model/config.ts";
import { openModel } from "../../src/model/open_model.ts";
import { planWeights } from "../../src/model/weight_plan.ts";
import { loadNetwork } from "../../src/model/weights.ts";
import { everyBackend } from "../backends.ts";
import { assertSameAnswers, openGoldenFolder } from "./golden.ts";

const fixtures = fileURLToPath(new URL("../../../shared/fixtures/", import.meta.url));
/** Folders of other programs' formats, and the formats that their matrices are in once they are loaded. */
const folders: Readonly<Record<string, readonly string[]>> = {
  v2lite_gptq: ["f16", "int4"],
  v2lite_gptq_actorder: ["f16", "f32", "int8"],
  v2lite_awq: ["f16", "int8"],
};

for (const { name: backendName, open } of await everyBackend()) {
  for (const [name, formats] of Object.entries(folders)) {
    if (!existsSync(fixtures + name)) {
      console.log(
        `NOTE: ../shared/fixtures/${name} is not here: it is not held against the official network`,
      );
      continue;
    }
    test(`${name} on ${backendName} says what the official network says with its numbers`, async () => {
      const golden = openGoldenFolder(fixtures + name);
      const backend = await open();
      const checkpoint = openModel(fixtures + name, { widens: true });
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
