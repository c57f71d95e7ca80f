/**
 * Runs the same test files in Deno and in Bun, then tells again what failed, and prints one line with the
 * sum. Arguments choose files or folders under test/; none means all. A runtime that this machine lacks is
 * said so aloud, and where CI=true it is a failure.
 *
 * Some tests kill processes or fill a machine with them, and a machine that stalls can fail one. So the few
 * files that failed are run once more, each by itself: what holds then counts, and is told as unsteady,
 * with what was printed the first time. Such a test is a defect to be found, and with `--strict` a failure.
 * @module
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { findRuntime, type TestRuntime } from "../test/find_runtime.ts";
import { readBunReport, readDenoReport, type TestReport } from "../test/test_report.ts";

/** Files of one runtime that may be run again: more than that are no bad luck. */
const mostAgain = 3;

const needsBoth = process.env.CI === "true";
const isStrict = process.argv.includes("--strict");
const paths = process.argv.slice(2).filter((word) => word !== "--strict");
if (paths.length === 0) paths.push("test");

// Here property tests draw the same cases each time; `deno test FILE` draws new ones.
const preload = ["--preload", "./test/seed.ts"];
const runners = {
  deno: { words: ["test", "-A", "--no-check", ...preload], readReport: readDenoReport },
  bun: { words: ["test", ...preload, "--timeout", "120000"], readReport: readBunReport },
};

const ends = [await runTwice("deno"), await runTwice("bun")];

// Of thousands of lines many readers, and some logs, keep the last ones.
for (const { runtime, unsteady, report } of ends) {
  for (const failure of unsteady) {
    console.log(`\n--- unsteady in ${runtime}, held when run again: ${failure}`);
  }
  for (const failure of report.failures) console.log(`\n--- failed in ${runtime}: ${failure}`);
}
if (!existsSync("../shared/fixtures")) {
  console.log("NOTE: ../shared is not here: tests against the official networks' full fixtures did not run");
}
const passed = sum(ends.map(({ report }) => report.passed));
const failed = sum(ends.map(({ report }) => report.failed));
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

/** What a runtime's tests came to. */
interface End {
  readonly runtime: TestRuntime;
  readonly report: TestReport;
  /** What the tests printed that failed, and held when they were run again. */
  readonly unsteady: readonly string[];
}

async function runTwice(runtime: TestRuntime): Promise<End> {
  const first = await runTests(runtime, paths);
  const { failed, failures, failedFiles } = first;
  // A failure outside of any test, while a file is loaded for instance, is nobody's luck.
  const mayBeLuck = failures.length === failed && failedFiles.length > 0 && failedFiles.length <= mostAgain;
  if (isStrict || !mayBeLuck) return { runtime, report: first, unsteady: [] };
  const again: TestReport[] = [];
  for (const file of failedFiles) again.push(await runTests(runtime, [file]));
  const holdsNow = again.every(({ passed, failed }) => passed > 0 && failed === 0);
  if (!holdsNow) return { runtime, report: first, unsteady: [] };
  return {
    runtime,
    report: { passed: first.passed + failed, failed: 0, failures: [], failedFiles: [] },
    unsteady: failures,
  };
}

async function runTests(runtime: TestRuntime, paths: readonly string[]): Promise<TestReport> {
  const command = findRuntime(runtime);
  if (!command) {
    console.log(`NOTE: ${runtime} is not on this machine: its half of the tests did not run`);
    return { passed: 0, failed: needsBoth ? 1 : 0, failures: [], failedFiles: [] };
  }
  console.log(`\n--- ${runtime} ---`);
  const { words, readReport } = runners[runtime];
  const { code, output } = await runThrough([...command, ...words, ...paths.map(asPath)]);
  const report = readReport(output);
  if (report && (code === 0 || report.failed > 0)) return report;
  // A runtime can also fail outside any test, for instance while it loads a file.
  const why = `it ended with ${code}${report ? "" : " and no summary"}\n${output.slice(-2000)}`;
  return { passed: report?.passed ?? 0, failed: 1, failures: [why], failedFiles: [] };
}

/** Bun takes other words for a filter of names. */
function asPath(path: string): string {
  return /^[./]/.test(path) ? path : `./${path}`;
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
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
