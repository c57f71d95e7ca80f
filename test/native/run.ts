/**
 * Tests the C side where memory checkers see every stray read and every race: the programs in C beside this
 * file, and the calls that the op suite and a generation of minnow make, which are recorded in Deno (V8 runs
 * under none of the checkers) and replayed by replay.c. `deno task native`; some five minutes of two cores. A
 * checker that this machine lacks is said so aloud; the sanitizers come with the compiler, so where CI=true
 * one that lacks is a failure.
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { isaNames, isasOf } from "../../src/backend/native/isa.ts";
import { kernelLibrary } from "../backends.ts";
import { buildFor, type Built, programOf, whyMissing } from "./build.ts";
import { type Checker, checkers } from "./checkers.ts";
import { run } from "./command.ts";
import { record, type Recorded } from "./recorded.ts";
import { choose, replay } from "./replay.ts";

const begin = performance.now();
let nPassed = 0, nFailed = 0;

/** Prints a line for a part, and all it said where it failed. */
function report(what: string, isGood: boolean, words: string): void {
  const seconds = Math.round((performance.now() - begin) / 1000);
  console.log(`${isGood ? "ok" : "FAILED"}: ${what} (at ${seconds} s)`);
  if (!isGood) console.log(words.trim());
  if (isGood) nPassed++;
  else nFailed++;
}

/** The programs in C. */
async function runPrograms(built: Built): Promise<void> {
  const { name, programs, environment } = built.checker;
  for (const [stem, parameters] of Object.entries(programs)) {
    const command = await programOf(built, `${stem}_test.c`);
    const { isGood, words } = await run([...command, ...parameters], { environment });
    report(`${stem} under ${name}`, isGood, words);
  }
}

/** A checker that sees none of the mistakes that it should sees nothing else either. */
async function runCanary(built: Built): Promise<void> {
  const { name, sees, environment } = built.checker;
  const command = await programOf(built, "canary.c");
  const faultless = await run([...command, "none"], { environment });
  report(`${name} finds nothing where there is nothing`, faultless.isGood, faultless.words);
  for (const mistake of sees) {
    const { isGood } = await run([...command, mistake], { environment });
    report(`${name} sees a mistake: ${mistake}`, !isGood, "it ended well");
  }
}

async function runReplay(built: Built, recorded: readonly Recorded[]): Promise<void> {
  const { name } = built.checker;
  const chosen = choose(recorded, built.checker);
  for (const isa of chosen.isasLeftOut) {
    console.log(`NOTE: ${name} cannot run ${isaNames[isa]}: nothing of it is replayed there`);
  }
  const nSessions = recorded.reduce((sum, { sessions }) => sum + sessions.length, 0);
  console.log(
    `${name} replays ${chosen.sessions.size} of ${nSessions} sessions, ` +
      `with ${chosen.nKinds} of the ${chosen.nKindsOfAll} kinds of calls that it can replay`,
  );
  for await (const { what, isGood, words } of replay(built, recorded, chosen)) {
    report(`${what}, under ${name}`, isGood, words);
  }
}

/** @param recording resolves to the recording, or to null where it failed */
async function runChecker(
  checker: Checker,
  isas: readonly string[],
  folder: string,
  recording: Promise<Recorded[] | null>,
): Promise<void> {
  const missing = await whyMissing(checker, folder);
  if (missing !== null) {
    console.log(
      `NOTE: ${checker.name} is not on this machine, nothing is checked with it: ${missing.trim()}`,
    );
    // CI installs a compiler, and the sanitizers with it.
    if (process.env.CI === "true" && checker.command.length === 0) nFailed++;
    return;
  }
  const known = isas.filter((name) =>
    checker.isas.includes(isaNames.indexOf(name as typeof isaNames[number]))
  );
  const built = await buildFor(checker, known, folder);
  await runCanary(built);
  await runPrograms(built);
  const recorded = await recording;
  if (recorded) await runReplay(built, recorded);
}

const library = await kernelLibrary();
if (library === null) {
  throw new Error("Cannot check the kernels: there is no C compiler, gcc or clang is needed");
}
const isas = isasOf(library);
const folder = mkdtempSync(join(tmpdir(), "hadal-native-"));
try {
  const place = join(folder, "recording");
  mkdirSync(place);
  const recording = record(place).then(
    (recorded) => (report("recording", true, ""), recorded),
    (error) => (report("recording", false, (error as Error).message), null),
  );
  // The last one, valgrind, runs all threads of a program on one core, beside the others.
  const lanes = [checkers.slice(0, -1), checkers.slice(-1)];
  await Promise.all(lanes.map(async (lane) => {
    for (const checker of lane) {
      try {
        await runChecker(checker, isas, folder, recording);
      } catch (error) {
        report(checker.name, false, (error as Error).message);
      }
    }
  }));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${nPassed} passed, ${nFailed} failed`);
process.exitCode = nFailed === 0 ? 0 : 1;
