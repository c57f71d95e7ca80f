/**
 * How far long work is, on standard error.
 * @module
 */
import process from "node:process";

/** What is shown. */
export interface Shown {
  /** Units that are counted, such as "layers". */
  readonly what: string;
  readonly nDone: number;
  readonly n: number;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/**
 * In a terminal one line that is written over, elsewhere a line for each unit.
 * @returns to be told how far the work is, and at its end null
 */
export function progressLine(now: () => number = () => performance.now()): (shown: Shown | null) => void {
  const start = now();
  const { isTTY } = process.stderr;
  let shownUnits = 0, shownAt = -Infinity;
  return (shown) => {
    if (shown === null) {
      if (isTTY && shownAt > 0) process.stderr.write("\n");
      return;
    }
    const isLast = shown.doneBytes === shown.totalBytes;
    const isDue = isTTY ? now() - shownAt > 100 || isLast : shown.nDone > shownUnits;
    if (!isDue) return;
    [shownUnits, shownAt] = [shown.nDone, now()];
    const text = progressText(shown, now() - start);
    process.stderr.write(isTTY ? `\r\x1b[K${text}` : `${text}\n`);
  };
}

/** @returns to be told how far fetching a model is, which is shown as one unit of that line */
export function downloadLine(
  show: (shown: Shown) => void,
): (progress: { readonly done: number; readonly total: number }) => void {
  return ({ done, total }) =>
    show({ what: "downloads", nDone: done === total ? 1 : 0, n: 1, doneBytes: done, totalBytes: total });
}

/** Such as "3 of 27 layers, 512 of 4100 MB, 300 MB/s, 12 s left". */
export function progressText({ what, nDone, n, doneBytes, totalBytes }: Shown, elapsedMs: number): string {
  const bytesPerMs = doneBytes / Math.max(elapsedMs, 1);
  const leftMs = bytesPerMs > 0 ? (totalBytes - doneBytes) / bytesPerMs : NaN;
  const left = doneBytes < totalBytes && Number.isFinite(leftMs) ? `, ${durationText(leftMs)} left` : "";
  const digits = totalBytes < 1e7 ? 1 : 0;
  const [done, total] = [doneBytes, totalBytes].map((bytes) => (bytes / 1e6).toFixed(digits));
  return `${nDone} of ${n} ${what}, ${done} of ${total} MB, ${Math.round(bytesPerMs / 1000)} MB/s${left}`;
}

/** Such as "8 s", "3 min 20 s" or "2 h 5 min". */
function durationText(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
