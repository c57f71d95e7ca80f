/**
 * Changes sound inputs at random and gives them to every parser of what others wrote: files of models, of
 * caches and of conversations, answers of hubs, grammars, and requests. Each must refuse what it cannot read
 * with an error of ours, in time, and read nothing outside the file. The property tests do the same, shortly;
 * this is for as long as one likes.
 *
 *     deno run -A tools/mutate.ts [--seconds 600] [--seed N] [PARSER…]
 *
 * Seconds are those of each parser. Ends with 1 after a failure, whose bytes it leaves in a file.
 * @module
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { CheckpointError, DownloadError, RequestError, UnsupportedError } from "../src/errors.ts";
import { commandLine } from "../src/runtime.ts";
import { fileParsers } from "./mutate_files.ts";
import { grammarParsers } from "./mutate_grammars.ts";
import { keptParsers } from "./mutate_kept.ts";
import { listingParser } from "./mutate_listing.ts";
import { requestParser } from "./mutate_requests.ts";
import { changed, type Parser, random, seedRandom } from "./mutation.ts";

const parsers: Readonly<Record<string, Parser>> = {
  ...fileParsers,
  ...grammarParsers,
  ...keptParsers,
  listing: listingParser,
  requests: requestParser,
};
const { values: options, positionals } = parseArgs({
  args: commandLine(),
  allowPositionals: true,
  options: { seconds: { type: "string", default: "600" }, seed: { type: "string", default: "1" } },
});

const ours = [CheckpointError, UnsupportedError, DownloadError, RequestError];
const isOurs = (error: unknown) => ours.some((kind) => error instanceof kind);

/** Of the processor, so that a busy machine fails nobody. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** @returns whether all went well */
async function mutate(name: string, parser: Parser, seconds: number, folder: string): Promise<boolean> {
  const { seeds, kind, mostMs = 2000 } = parser;
  for (const [i, seed] of seeds.entries()) {
    try {
      await parser.parse(seed, i, folder);
    } catch (error) {
      // A cut file is a seed too, as long as it is refused as it should be.
      if (!isOurs(error)) throw error;
    }
  }
  let runs = 0, refused = 0, slowest = 0;
  const end = performance.now() + 1000 * seconds;
  let failure: unknown = null;
  while (performance.now() < end && failure === null) {
    const at = random(seeds.length);
    const bytes = changed(seeds[at], kind);
    const begin = cpuMs();
    try {
      await parser.parse(bytes, at, folder);
    } catch (error) {
      if (isOurs(error)) refused++;
      else failure = error;
    }
    const ms = cpuMs() - begin;
    slowest = Math.max(slowest, ms);
    if (ms > mostMs) failure ??= new Error(`it took ${Math.round(ms)} ms`);
    runs++;
    if (failure === null) continue;
    const file = join(tmpdir(), `hadal-mutated-${name}`);
    writeFileSync(file, bytes);
    console.log(`FAILED: ${name}, of seed ${at}, left in ${file}:\n${(failure as Error).stack}`);
  }
  console.log(`${name}: ${runs} inputs, ${refused} refused, the slowest took ${slowest.toFixed(0)} ms`);
  return failure === null;
}

let isGood = true;
const folder = mkdtempSync(join(tmpdir(), "hadal-mutate-"));
try {
  for (const [name, parser] of Object.entries(parsers)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    if (parser.seeds.length === 0) {
      console.log(`NOTE: ${name}: ../shared is not here, nothing is changed`);
      continue;
    }
    seedRandom(Number(options.seed));
    try {
      isGood = await mutate(name, parser, Number(options.seconds), folder) && isGood;
    } finally {
      await parser.close?.();
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
process.exit(isGood ? 0 : 1);
