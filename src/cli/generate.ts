/**
 * `hadal generate`: continues a text.
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import type { WholeReply } from "../chat_reply.ts";
import type { Message } from "../messages.ts";
import { forParseArgs } from "./flags.ts";
import {
  generationFlags,
  generationHelp,
  generationOptions,
  moreGenerationHelp,
  thinkingHelp,
} from "./generation_flags.ts";
import { loadModel, modelAndWords, modelFlags, modelHelp, moreModelHelp, sourceHelp } from "./model_flags.ts";
import { promptText } from "./prompt_text.ts";
import { stopSignal } from "./stop_signal.ts";
import { writeParts } from "./write_parts.ts";

const help = `Continues a text, and ends

  hadal generate MODEL [TEXT…]             echo "Once upon a time" | hadal generate minnow

${sourceHelp}
  TEXT                   by default what comes through the pipe
  --chat                 the text is a message, and the reply an answer
  --system TEXT          what the model is told before it, with --chat
  --json                 one JSON object: text, tokens, finishReason, usage, timings
${generationHelp}
${moreGenerationHelp}
${thinkingHelp} (with --chat)

${modelHelp}
${moreModelHelp}
  --help                 this text

  The reply goes to standard output, all else to standard error. Ctrl-C ends it early, with 130.`;

const flags = {
  ...modelFlags,
  ...generationFlags,
  chat: "switch",
  system: "text",
  json: "switch",
  help: "switch",
} as const;

/** @throws {Error} in one sentence, why there is no reply */
export async function runGenerate(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: forParseArgs(flags) });
  if (values.help) return console.log(help);
  const { source, words } = modelAndWords("generate", values, positionals);
  const options = generationOptions(values);
  if (values.system !== undefined && !values.chat) throw new Error("--system: --chat is needed");
  if (!values.json && (options.n ?? 1) > 1) throw new Error("--n: more than one reply needs --json");
  const stop = stopSignal(() => process.exit(130));
  const text = await promptText("generate", words);
  await using model = await loadModel(source, stop);
  const messages: Message[] = [{ role: "user", content: text }];
  if (values.system !== undefined) messages.unshift({ role: "system", content: values.system as string });
  const reply = values.chat ? model.chat(messages, options) : model.complete(text, options);
  stop.addEventListener("abort", () => reply.cancel());
  if (values.json) console.log(JSON.stringify(summary(model.info.name, await reply)));
  else await writeParts(reply);
  if (stop.aborted) process.exitCode = 130;
}

/** What is told of a reply: choices are where there is more than one. */
function summary(model: string, { choices, usage, timings, promptLogprobs, ...first }: WholeReply): object {
  const replies = choices.length > 1 ? { choices } : first;
  return { model, ...replies, ...(promptLogprobs ? { promptLogprobs } : {}), usage, timings };
}
