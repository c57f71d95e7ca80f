import assert from "node:assert/strict";
import { test } from "node:test";
import { progressText } from "../../src/cli/progress_line.ts";

test("a line of progress tells units, megabytes, rate and the time left", () => {
  const shown = { what: "layers", nDone: 3, n: 27, totalBytes: 4_100_000_000 };
  const cases: [doneBytes: number, elapsedMs: number, text: string][] = [
    [0, 0, "3 of 27 layers, 0 of 4100 MB, 0 MB/s"],
    [410_000_000, 1000, "3 of 27 layers, 410 of 4100 MB, 410 MB/s, 9 s left"],
    [410_000_000, 20_000, "3 of 27 layers, 410 of 4100 MB, 21 MB/s, 3 min 0 s left"],
    [410_000_000, 1_000_000, "3 of 27 layers, 410 of 4100 MB, 0 MB/s, 2 h 30 min left"],
    [4_100_000_000, 2000, "3 of 27 layers, 4100 of 4100 MB, 2050 MB/s"],
  ];
  for (const [doneBytes, elapsedMs, text] of cases) {
    assert.equal(progressText({ ...shown, doneBytes }, elapsedMs), text);
  }
  const small = { what: "layers", nDone: 1, n: 3, doneBytes: 123_456, totalBytes: 437_000 };
  assert.equal(progressText(small, 100), "1 of 3 layers, 0.1 of 0.4 MB, 1 MB/s, 1 s left");
});
