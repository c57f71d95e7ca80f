/**
 * Runs the same test files in Deno and in Bun and prints one line with the sum. Arguments choose
 * files or folders under test/; none means all. A runtime that this machine lacks is said so aloud,
 * and where CI=true it is a failure.
 * @module
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { findRuntime, type TestRuntime } from "../test/find_runtime.ts";

interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

const needsBoth = process.env.CI === "true";
const paths = process.argv.slice(2);
// Here property tests draw the same cases each time; `deno test FILE` draws new ones.
const seed = "./test/seed.ts";
if (paths.length === 0) paths.push("test");

const outcomes = [
  await runTests(
    "deno",
    ["test", "-A", "--no-check", "--preload", seed, ...paths],
    /(\d+) passed.*\| (\d+) failed/,
  ),
  await runTests(
    "bun",
    ["test", "--preload", seed, "--timeout", "120000", ...paths.map((path) => `./${path}`)],
    /(\d+) pass\s+(?:\d+ skip\s+)?(?:\d+ todo\s+)?(\d+) fail/,
  ),
];
if (!existsSync("../shared/fixtures")) {
  console.log("NOTE: ../shared is not here: tests against the official networks' full fixtures did not run");
}
const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
const failed = outcomes.reduce((sum, outcome) => sum + outcome.failed, 0);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

/** @param counts finds the numbers of passed and failed tests in the output's end */
async function runTests(
  runtime: TestRuntime,
  testArgs: readonly string[],
  counts: RegExp,
): Promise<Outcome> {
  const command = findRuntime(runtime);
  if (!command) {
    console.log(`NOTE: ${runtime} is not on this machine: its half of the tests did not run`);
    return { passed: 0, failed: needsBoth ? 1 : 0 };
  }
  console.log(`\n--- ${runtime} ---`);
  const { code, output } = await runThrough([...command, ...testArgs]);
  const match = output.slice(-4000).match(counts);
  if (!match) {
    console.log(`${runtime} ended with ${code} and no summary`);
    return { passed: 0, failed: 1 };
  }
  const outcome = { passed: Number(match[1]), failed: Number(match[2]) };
  // A runtime can also fail outside any test, for instance while it loads a file.
  return code !== 0 && outcome.failed === 0 ? { ...outcome, failed: 1 } : outcome;
}

/** Runs a command, shows what it prints as it prints it, and keeps it (without colours). */
function runThrough(command: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1" },
    });
    let output = "";
    const show = (chunk: Uint8Array) => {
      output += new TextDecoder().decode(chunk);
      process.stdout.write(chunk);
    };
    child.stdout.on("data", show);
    child.stderr.on("data", show);
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}
