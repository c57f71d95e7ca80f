/** What a runtime's test runner printed, read back: how many tests passed, how many failed, and what it said of those. */

export interface TestReport {
  readonly passed: number;
  readonly failed: number;
  /** Of each failed test what was printed of it, names first. */
  readonly failures: readonly string[];
  /** Of the test files in which tests failed, the paths as the runner prints them. */
  readonly failedFiles: readonly string[];
}

// A failed test that prints without end must not push the others' names out of sight.
const longestFailure = 3000;

/** @returns undefined where the output ends without a summary */
export function readDenoReport(output: string): TestReport | undefined {
  const summary = /^(?:ok|FAILED) \| (\d+) passed.*\| (\d+) failed/m.exec(output.slice(-4000));
  if (!summary) return undefined;
  // The last heading is Deno's own: what tests print comes before it.
  const details = output.slice(output.lastIndexOf("\n ERRORS \n")).split("\n FAILURES \n")[0];
  const failures = details.split(/\n(?=.* => \.\/.*:\d+:\d+\n)/).slice(1);
  const failedFiles = failures.map((text) => / => (\.\/.*):\d+:\d+\n/.exec(text)![1]);
  return { ...counts(summary), failures: failures.map(shorten), failedFiles: [...new Set(failedFiles)] };
}

/** @returns undefined where the output ends without a summary */
export function readBunReport(output: string): TestReport | undefined {
  const summary = /(\d+) pass\s+(?:\d+ skip\s+)?(?:\d+ todo\s+)?(\d+) fail/.exec(output.slice(-4000));
  if (!summary) return undefined;
  const failures: string[] = [], failedFiles = new Set<string>();
  let file = "", before: string[] = [];
  for (const line of output.split("\n")) {
    // Bun prints an error before the line with its test's name, and one outside of tests between two rules.
    if (line.startsWith("(fail) ") || (line.startsWith("error: ") && before.at(-1)?.startsWith("-----"))) {
      failures.push(shorten([`${line} (${file})`, ...before].join("\n")));
      failedFiles.add(`./${file}`);
    }
    if (/^(?:\((?:pass|fail|skip)\) |\S+_test\.ts:$)/.test(line)) before = [];
    else before.push(line);
    if (/^\S+_test\.ts:$/.test(line)) file = line.slice(0, -1);
  }
  return { ...counts(summary), failures, failedFiles: [...failedFiles] };
}

function counts([, passed, failed]: RegExpExecArray): { passed: number; failed: number } {
  return { passed: Number(passed), failed: Number(failed) };
}

function shorten(failure: string): string {
  const text = failure.trim();
  return text.length <= longestFailure ? text : `${text.slice(0, longestFailure)}\n[…]`;
}
