/**
 * Tells what it costs to refuse models: a process of its own opens the folders that it is given one after the
 * other, so that nothing else's memory is in the figures. The first one is sound, and opened until all is
 * compiled.
 *
 *     deno run -A test/bad_inputs_cost.ts FOLDER…      bun test/bad_inputs_cost.ts FOLDER…
 *
 * Prints a line of JSON for each other one. Memory is the most that the process held at once (VmHWM, which
 * Linux lets a process begin anew) over what it held before.
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { commandLine } from "../src/runtime.ts";
import { openAll } from "./bad_inputs.ts";

/** What one folder cost. */
export interface Cost {
  readonly folder: string;
  readonly extraBytes: number;
  /** Of the processor. */
  readonly ms: number;
  /** Null where nothing was thrown. */
  readonly error: string | null;
}

/** Of the process, in bytes. */
function memory(field: "VmHWM" | "VmRSS"): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return 1024 * Number(new RegExp(`${field}:\\s*(\\d+) kB`).exec(status)![1]);
}

async function open(folder: string): Promise<string | null> {
  try {
    await openAll(folder);
    return null;
  } catch (error) {
    const { name, message } = error as Error;
    return `${name}: ${message}`;
  }
}

const [sound, ...folders] = commandLine();
for (let i = 0; i < 3; i++) await open(sound);
for (const folder of folders) {
  writeFileSync("/proc/self/clear_refs", "5");
  const before = memory("VmRSS"), begin = process.cpuUsage();
  const error = await open(folder);
  const { user, system } = process.cpuUsage(begin);
  const extraBytes = memory("VmHWM") - before;
  console.log(JSON.stringify({ folder, extraBytes, ms: (user + system) / 1000, error } satisfies Cost));
}
