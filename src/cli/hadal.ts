/**
 * The command `hadal`: one subcommand a file.
 *
 *     deno task hadal COMMAND …          bun src/cli/hadal.ts COMMAND …
 *
 * @module
 */
import process from "node:process";
import { version } from "../package/version.ts";
import { runtime } from "../runtime.ts";

const help = `Runs DeepSeek models, on this machine

  hadal chat [MODEL]           talks with a model
  hadal generate MODEL [TEXT]  continues a text, or answers it; takes one from a pipe, too
  hadal serve [MODEL]          serves the OpenAI API on http://127.0.0.1:8080/v1

  hadal pull MODEL             fetches a model from a hub
  hadal inspect SOURCE         says what a model is and what it would take
  hadal quantize SOURCE OUT    writes a model in another weight format
  hadal convert SOURCE OUT     writes a model as GGUF or as safetensors

  hadal bench                  measures a model on this machine
  hadal logits MODEL [TEXT]    says what a model expects after each token

  hadal COMMAND --help         more about a command
  hadal --version              which one this is

MODEL is "minnow", which is embedded; a folder as Hugging Face lays it out; a GGUF file; or a hub's name for a
model, which is then fetched. For example:

  hadal chat
  echo "Once upon a time" | hadal generate minnow --max-tokens 50
  hadal serve deepseek-ai/DeepSeek-V2-Lite-Chat --weights int4`;

/** Each is imported when it is asked for: the others would only make it begin later. */
const commands: Readonly<Record<string, (args: string[]) => Promise<void>>> = {
  bench: async (args) => (await import("./bench.ts")).runBench(args),
  chat: async (args) => (await import("./chat.ts")).runChat(args),
  convert: async (args) => (await import("./convert.ts")).runConvert(args),
  generate: async (args) => (await import("./generate.ts")).runGenerate(args),
  inspect: async (args) => (await import("./inspect.ts")).runInspect(args),
  logits: async (args) => (await import("./logits.ts")).runLogits(args),
  pull: async (args) => (await import("./pull.ts")).runPull(args),
  quantize: async (args) => (await import("./quantize.ts")).runQuantize(args),
  serve: async (args) => (await import("./serve.ts")).runServe(args),
};

function problemOf(name: string | undefined): string {
  return name === undefined ? "A command is needed" : `There is no command ${name}`;
}

// Whoever reads has had enough, as head has: that is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

const [name, ...args] = process.argv.slice(2);
try {
  if (name === "--help" || name === "-h" || name === "help") console.log(help);
  else if (name === "--version" || name === "-V") {
    console.log(`hadal ${version}, ${runtime.name} ${runtime.version}`);
  } else if (name !== undefined && Object.hasOwn(commands, name)) await commands[name](args);
  else throw new Error(`${problemOf(name)}\n\n${help}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
