/**
 * The wish that a command stop.
 * @module
 */
import process from "node:process";

/**
 * @param again called when that is asked for once more
 * @returns what aborts when the program is asked to end: by Ctrl-C, or by the system
 */
export function stopSignal(again: () => void = () => {}): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => stop.signal.aborted ? again() : stop.abort());
  }
  return stop.signal;
}
