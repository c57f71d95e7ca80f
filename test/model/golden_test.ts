import assert from "node:assert/strict";
import { test } from "node:test";
import { everyBackend } from "../backends.ts";
import {
  architectures,
  assertClose,
  assertSameAnswers,
  type Golden,
  type GoldenPrompt,
  openGolden,
  openNetwork,
  type Trace,
} from "./golden.ts";

for (const { name: backendName, open } of await everyBackend()) {
  for (const architecture of architectures) {
    const golden = openGolden(architecture);
    if (!golden) continue;
    test(`${architecture} on ${backendName} says what the official network says`, async () => {
      const backend = await open();
      try {
        const network = openNetwork(golden.folder, backend);
        const { nLayers } = network.config;
        assertSameAnswers(network, golden, (prompt, trace) => checkTrace(golden, prompt, trace, nLayers));
      } finally {
        backend.close();
      }
    });
  }
}

/** Hidden states and routing are stored for the short prompt. */
function checkTrace(golden: Golden, { name }: GoldenPrompt, trace: Trace, nLayers: number): void {
  for (const [layer, hidden] of trace.hidden) {
    const stored = layer === -1 ? "embed" : layer === nLayers ? "final_norm" : `layer${layer}`;
    if (golden.has(`${name}.hidden.${stored}`)) {
      assertClose(hidden, golden.floats(`${name}.hidden.${stored}`), `hidden state ${stored}`);
    }
  }
  for (const [layer, { ids, weights }] of trace.routes) {
    if (!golden.has(`${name}.router.layer${layer}.expert_ids`)) continue;
    assert.deepEqual(
      ids,
      golden.ints(`${name}.router.layer${layer}.expert_ids`),
      `experts of layer ${layer}`,
    );
    assertClose(
      weights,
      golden.floats(`${name}.router.layer${layer}.expert_weights`),
      `weights of layer ${layer}`,
    );
  }
  if (name === "short") assert.ok(trace.routes.size > 0, "no layer routed");
}
