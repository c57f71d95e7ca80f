/**
 * Runs the same test files in Deno and in Bun, then tells again what failed, and prints one line with the
 * sum. Arguments choose files or folders under test/; none means all. A runtime that this machine lacks is
 * said so aloud, and where CI=true it is a failure.
 * @module
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { findRuntime, type TestRuntime } from "../test/find_runtime.ts";
import { readBunReport, readDenoReport, type TestReport } from "../test/test_report.ts";

const needsBoth = process.env.CI === "true";
const paths = process.argv.slice(2);
// Here property tests draw the same cases each time; `deno test FILE` draws new ones.
const seed = "./test/seed.ts";
if (paths.length === 0) paths.push("test");

const reports = {
  deno: await runTests("deno", ["test", "-A", "--no-check", "--preload", seed, ...paths], readDenoReport),
  bun: await runTests(
    "bun",
    ["test", "--preload", seed, "--timeout", "120000", ...paths.map((path) => `./${path}`)],
    readBunReport,
  ),
};
// Of thousands of lines many readers, and some logs, keep the last ones.
for (const [runtime, { failures }] of Object.entries(reports)) {
  for (const failure of failures) console.log(`\n--- failed in ${runtime}: ${failure}`);
}
if (!existsSync("../shared/fixtures")) {
  console.log("NOTE: ../shared is not here: tests against the official networks' full fixtures did not run");
}
const passed = reports.deno.passed + reports.bun.passed;
const failed = reports.deno.failed + reports.bun.failed;
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

async function runTests(
  runtime: TestRuntime,
  testArgs: readonly string[],
  readReport: (output: string) => TestReport | undefined,
): Promise<TestReport> {
  const command = findRuntime(runtime);
  if (!command) {
    console.log(`NOTE: ${runtime} is not on this machine: its half of the tests did not run`);
    return { passed: 0, failed: needsBoth ? 1 : 0, failures: [] };
  }
  console.log(`\n--- ${runtime} ---`);
  const { code, output } = await runThrough([...command, ...testArgs]);
  const report = readReport(output) ??
    { passed: 0, failed: 1, failures: [`it ended with ${code} and no summary\n${output.slice(-2000)}`] };
  if (code === 0 || report.failed > 0) return report;
  // A runtime can also fail outside any test, for instance while it loads a file.
  return { ...report, failed: 1, failures: [`it ended with ${code}\n${output.slice(-2000)}`] };
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
