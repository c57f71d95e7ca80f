/**
 * `hadal chat`: a conversation in the terminal, or with a pipe.
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import type { ChatReply } from "../chat_reply.ts";
import type { Message } from "../messages.ts";
import { forParseArgs } from "./flags.ts";
import {
  generationFlags,
  generationHelp,
  generationOptions,
  moreGenerationHelp,
  thinkingHelp,
} from "./generation_flags.ts";
import {
  loadModel,
  modelFlags,
  modelHelp,
  modelLine,
  modelOptions,
  moreModelHelp,
  sourceHelp,
} from "./model_flags.ts";
import { stopSignal } from "./stop_signal.ts";
import { writeParts } from "./write_parts.ts";

const commands = `  /reset   begins anew
  /quit    ends, as Ctrl-D does
  /help    says this; Ctrl-C stops the reply`;

const help = `Talks with a model, in the terminal or through a pipe, one message a line

  hadal chat [MODEL]                       echo "What is a bear?" | hadal chat

${sourceHelp}
  --system TEXT          what the model is told first
${generationHelp}
${moreGenerationHelp}
${thinkingHelp}

${modelHelp}
${moreModelHelp}
  --help                 this text

  A conversation that outgrows the context goes on without its oldest turns, unless --context-overflow refuse
  or a --beam-width is given.
  In the chat:
${commands}`;

const flags = { ...modelFlags, ...generationFlags, system: "text", help: "switch" } as const;

/** @throws {Error} in one sentence, why there can be no conversation */
export async function runChat(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: forParseArgs(flags) });
  if (values.help) return console.log(help);
  if (positionals.length > 1) {
    throw new Error(
      `chat: ${positionals.length} models were given, one is needed; messages come line by line`,
    );
  }
  const source = modelOptions(values, positionals[0]);
  const asked = generationOptions(values);
  // What is searched for is not shifted.
  const options = asked.beam == null ? { contextOverflow: "shift" as const, ...asked } : asked;
  if ((options.n ?? 1) > 1) throw new Error("--n: a conversation goes on with one reply");
  const beginning: Message[] = values.system === undefined
    ? []
    : [{ role: "system", content: values.system as string }];
  await using model = await loadModel(source, stopSignal());
  const isTerminal = Boolean(process.stdin.isTTY);
  if (isTerminal) console.error(`${modelLine(model)}\n/help says what can be done here`);
  let messages = [...beginning];
  let reply: ChatReply | null = null;

  const lines = createInterface({ input: process.stdin, output: isTerminal ? process.stdout : undefined });
  let isOpen = true; // a pipe may end while its last line is answered
  lines.once("close", () => isOpen = false);
  lines.setPrompt(isTerminal ? "> " : "");
  const interrupt = () => {
    if (!isTerminal) process.exitCode = 130; // a pipe's messages are asked for by somebody else, who wants none now
    if (reply === null || !isTerminal) lines.close();
    reply?.cancel();
  };
  lines.on("SIGINT", interrupt); // a terminal hands Ctrl-C to readline
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, interrupt);

  lines.prompt();
  for await (const line of lines) {
    if (process.exitCode === 130) break;
    const text = line.trim();
    if (text === "/quit") break;
    else if (text === "/help") console.log(commands);
    else if (text === "/reset") messages = [...beginning];
    else if (text.startsWith("/")) console.log("The commands are /reset, /quit and /help");
    else if (text !== "") {
      reply = model.chat([...messages, { role: "user", content: text }], options);
      try {
        const written = await writeParts(reply);
        messages.push({ role: "user", content: text }, { role: "assistant", content: written });
      } catch (error) {
        if (!isTerminal) throw error; // what comes next may stand on it
        console.error((error as Error).message);
      }
      reply = null;
    }
    if (isOpen) lines.prompt();
  }
  lines.close();
}
