/**
 * Folders of random networks that speak a dialect whose template is among the golden ones.
 * @module
 */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const golden = join(import.meta.dirname!, "golden");

/**
 * Writes a copy of a network with a dialect's template.
 * @param kind as test/golden/tokenizer/dialects.json calls the dialect
 * @param network its folder: the small V2-Lite by default
 * @returns the copy's folder, in `place`
 */
export function writeDialect(place: string, kind: string, network = join(golden, "v2lite")): string {
  const { templates } = JSON.parse(readFileSync(join(golden, "tokenizer/dialects.json"), "utf8"));
  const own = join(place, kind), config = join(own, "tokenizer_config.json");
  cpSync(network, own, { recursive: true });
  const written = { ...JSON.parse(readFileSync(config, "utf8")), chat_template: templates[kind] };
  writeFileSync(config, JSON.stringify(written));
  return own;
}
