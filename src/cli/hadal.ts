/**
 * The command `hadal`: one subcommand a file.
 *
 *     deno task hadal COMMAND …          bun src/cli/hadal.ts COMMAND …
 *
 * @module
 */
import process from "node:process";

const help = `Runs DeepSeek models

  hadal bench                  measures a model on this machine
  hadal convert SOURCE OUT     writes a model as GGUF or as safetensors
  hadal inspect SOURCE         says what a model is and what it would take
  hadal pull MODEL             fetches a model from a hub
  hadal quantize SOURCE OUT    writes a model in another weight format
  hadal COMMAND --help         more about a command`;

/** Each is imported when it is asked for: the others would only make it begin later. */
const commands: Readonly<Record<string, (args: string[]) => Promise<void>>> = {
  bench: async (args) => (await import("./bench.ts")).runBench(args),
  convert: async (args) => (await import("./convert.ts")).runConvert(args),
  inspect: async (args) => (await import("./inspect.ts")).runInspect(args),
  pull: async (args) => (await import("./pull.ts")).runPull(args),
  quantize: async (args) => (await import("./quantize.ts")).runQuantize(args),
};

function problemOf(name: string | undefined): string {
  return name === undefined ? "A command is needed" : `There is no command ${name}`;
}

const [name, ...args] = process.argv.slice(2);
try {
  if (name === "--help" || name === "-h" || name === "help") console.log(help);
  else if (name !== undefined && Object.hasOwn(commands, name)) await commands[name](args);
  else throw new Error(`${problemOf(name)}\n\n${help}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
