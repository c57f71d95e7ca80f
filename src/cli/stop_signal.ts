/**
 * The wish that a command stop.
 * @module
 */
import process from "node:process";

/** @returns what aborts when the program is asked to end: by Ctrl-C, or by the system */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());
  return stop.signal;
}
