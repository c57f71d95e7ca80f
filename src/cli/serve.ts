/**
 * `hadal serve`: the OpenAI API over HTTP.
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { checkHandlerOptions, openaiHandler } from "../openai/handler.ts";
import { serve } from "../openai/serve.ts";
import { forParseArgs, wholeNumber } from "./flags.ts";
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

const help = `Serves a model: the OpenAI API, Anthropic's, and more; /docs describes it

  hadal serve [MODEL]

${sourceHelp}
  --port PORT            8080 by default, 0 for any free one
  --host ADDRESS         127.0.0.1 by default: this machine only
  --allow-host NAME      name that clients know the server by, besides localhost; may be given more than once
  --api-key KEY          asked of every client; may be given more than once
  --cors ORIGIN          pages that may ask from a browser, "*" for all; may be given more than once
  --requests-per-minute N   for each key, or for everybody together
  --model-name NAME      what the model is called in the API
  --max-body-bytes N     longest request that is read, 4 MiB by default
  --max-sequences N      computed at a time; --max-queue N more may wait

${modelHelp}
${moreModelHelp}
  --help                 this text

  Ctrl-C lets running requests finish; the second one does not wait.`;

const flags = {
  ...modelFlags,
  port: "text",
  host: "text",
  "allow-host": "texts",
  "api-key": "texts",
  cors: "texts",
  "requests-per-minute": "text",
  "model-name": "text",
  "max-body-bytes": "text",
  help: "switch",
} as const;

/** @throws {Error} in one sentence, why it cannot be served */
export async function runServe(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: forParseArgs(flags) });
  if (values.help) return console.log(help);
  if (positionals.length > 1) {
    throw new Error(`serve: ${positionals.length} models were given, one is needed`);
  }
  const source = modelOptions(values, positionals[0]);
  const text = (name: keyof typeof flags) => values[name] as string | undefined;
  const texts = (name: keyof typeof flags) => values[name] as string[] | undefined;
  const number = (name: keyof typeof flags, least: number, most?: number) => {
    const word = text(name);
    return word === undefined ? undefined : wholeNumber(name, word, least, most);
  };
  const port = number("port", 0, 65535), requestsPerMinute = number("requests-per-minute", 1);
  const apiKeys = texts("api-key"), cors = texts("cors");
  if (apiKeys?.some((key) => key.trim() === "")) throw new Error("--api-key: the key is empty");
  const options = {
    apiKeys,
    hosts: texts("allow-host"),
    cors,
    rateLimit: requestsPerMinute === undefined ? undefined : { requestsPerMinute },
    modelName: text("model-name"),
    maxBodyBytes: number("max-body-bytes", 1),
  };

  checkHandlerOptions(options);
  const stop = stopSignal(() => process.exit(130)); // the second does not wait
  await using model = await loadModel(source, stop);
  stop.addEventListener(
    "abort",
    () => console.error("Finishing running requests; once more to stop at once"),
  );
  console.error(modelLine(model));
  await serve(openaiHandler(model, options), {
    host: text("host"),
    port,
    signal: stop,
    onListen({ url }) {
      const key = apiKeys ? ` -H "authorization: Bearer $API_KEY"` : "";
      console.log(`Listening on ${url}/v1, try:
  curl ${url}/v1/chat/completions${key} -d '{"messages": [{"role": "user", "content": "Tell me a story."}]}'`);
    },
  });
}
