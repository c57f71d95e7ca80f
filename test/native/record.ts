/**
 * Loaded before a program (`deno run --preload`): what the program does with a kernel library is written down
 * in the folder that RECORDING names. It stands at the border itself, `Deno.dlopen`, so nothing that crosses
 * is missed and nothing of ours is changed for it. Deno's test runner loads it for each test file anew.
 * @module
 */
import process from "node:process";
import { declared } from "./header.ts";
import { type Argument, Recording } from "./recording.ts";

const folder = process.env.RECORDING;
if (!folder) throw new Error("Cannot record: RECORDING names no folder");

type Function = (...parameters: Argument[]) => number;
const numbers = new Map(declared.map(({ name }, id) => [name, id]));
const program = Deno.mainModule.replace(/.*\//, "");
let recording: Recording | null = null;

const open = Deno.dlopen;
Deno.dlopen = ((path: string, definitions: Deno.ForeignLibraryInterface) => {
  const library = open(path, definitions);
  if (!("device_open" in definitions)) return library; // another library, or the handshake
  recording ??= new Recording(folder, program);
  const to = recording;
  const symbols = Object.fromEntries(
    Object.entries(library.symbols).map(([name, call]) => {
      const id = numbers.get(name)!;
      return [name, (...given: Argument[]) => to.make(id, call as Function, given)];
    }),
  );
  return { symbols, close: () => library.close() };
}) as typeof Deno.dlopen;

globalThis.addEventListener("unload", () => recording?.end());
