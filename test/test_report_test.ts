import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { readBunReport, readDenoReport, type TestReport } from "./test_report.ts";
import { findRuntime, type TestRuntime } from "./find_runtime.ts";

const sound = `import { test } from "node:test";
test("it holds", () => {});
`;
const unsound = sound + `import assert from "node:assert/strict";
test("it breaks", () => { console.log("said meanwhile"); assert.deepEqual({ a: 2 }, { a: 1 }); });
test("it holds again", () => {});
test("it throws later", async () => { await Promise.resolve(); throw new TypeError("no such fish"); });
test("it talks", () => { throw new Error("x".repeat(10_000)); });
`;

function runTests(runtime: TestRuntime, files: Record<string, string>): TestReport | undefined {
  const folder = mkdtempSync(join(tmpdir(), "hadal-report-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const [command, ...words] = findRuntime(runtime)!;
    const { stdout, stderr } = spawnSync(
      command,
      [...words, "test", ...(runtime === "deno" ? ["-A", "--no-check"] : [])],
      { cwd: folder, encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } },
    );
    return (runtime === "deno" ? readDenoReport : readBunReport)(stdout + stderr);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const runtime of ["deno", "bun"] as const) {
  if (!findRuntime(runtime)) {
    console.log(`NOTE: ${runtime} is not on this machine: what its test runner prints was not read`);
    continue;
  }
  test(`of ${runtime}'s tests the failed ones are told with what they printed`, () => {
    const report = runTests(runtime, { "a_test.ts": sound, "b_test.ts": unsound, "c_test.ts": sound })!;
    assert.deepEqual([report.passed, report.failed, report.failures.length], [4, 3, 3]);
    assert.deepEqual(report.failedFiles, ["./b_test.ts"]);
    const [breaks, throws, talks] = report.failures;
    assert.match(breaks, /^.*it breaks.*b_test\.ts[^]*strictly deep-equal/);
    assert.match(throws, /^.*it throws later.*b_test\.ts[^]*no such fish/);
    assert.match(talks, /^.*it talks.*b_test\.ts[^]*xxxx\n\[…\]$/);
  });

  test(`of ${runtime}'s tests that all hold there is nothing to tell`, () => {
    assert.deepEqual(runTests(runtime, { "a_test.ts": sound }), {
      passed: 1,
      failed: 0,
      failures: [],
      failedFiles: [],
    });
  });
}

test("a runner that ends without a summary has no report", () => {
  for (const read of [readDenoReport, readBunReport]) assert.equal(read("error: no such option"), undefined);
});
