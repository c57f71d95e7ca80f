/**
 * Small checkpoints of shapes and formats that nobody publishes, held against the official network with the
 * same numbers. tools/golden/make_golden.py and make_coded.py made them.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Backend } from "../../src/backend/backend.ts";
import { convert } from "../../src/convert.ts";
import { parseConfig } from "../../src/model/config.ts";
import type { Network } from "../../src/model/network.ts";
import { openModel } from "../../src/model/open_model.ts";
import { loadNetwork } from "../../src/model/weights.ts";
import { everyBackend } from "../backends.ts";
import { assertSameAnswers, openGoldenFolder } from "./golden.ts";

const golden = fileURLToPath(new URL("../golden/", import.meta.url));

function use<T>(source: string, backend: Backend, act: (network: Network) => T): T {
  const checkpoint = openModel(source, { widens: true });
  try {
    return act(loadNetwork(checkpoint, parseConfig(checkpoint.config, source), backend));
  } finally {
    checkpoint.close();
  }
}

for (const kind of ["shapes", "coded"]) {
  for (const name of readdirSync(golden + kind)) {
    const folder = join(golden, kind, name);
    test(`${kind}/${name} says what the official network says, on every backend`, async () => {
      for (const { open } of await everyBackend()) {
        const backend = await open();
        try {
          use(folder, backend, (network) => assertSameAnswers(network, openGoldenFolder(folder)));
        } finally {
          backend.close();
        }
      }
    });

    test(`${kind}/${name} as GGUF, and as a folder made of that, says the same`, async () => {
      const place = mkdtempSync(join(tmpdir(), "hadal-test-"));
      const { open } = (await everyBackend()).at(-1)!;
      const backend = await open();
      try {
        const gguf = join(place, "gguf", "model.gguf"), back = join(place, "back");
        mkdirSync(join(place, "gguf"));
        await convert(folder, gguf, { type: kind === "coded" ? "F32" : "auto" });
        await convert(gguf, back);
        for (const source of [gguf, join(place, "gguf"), back]) {
          use(source, backend, (network) => assertSameAnswers(network, openGoldenFolder(folder)));
        }
        // To transformers 1 is no float, and 1.0 is.
        assert.match(readFileSync(join(back, "config.json"), "utf8"), /"routed_scaling_factor": \d+\.\d/);
      } finally {
        backend.close();
        rmSync(place, { recursive: true });
      }
    });
  }
}
