/**
 * The models that every client is held against, each served on a port of this machine as users serve it:
 * minnow; a random network of V2-Lite's shape, which writes pieces of characters and control marks as no
 * trained model would; and the same with a template that opens a thought, as R1's does.
 * @module
 */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { z } from "zod";
import { type HandlerOptions, type LanguageModel, load, openaiHandler, serve } from "../../mod.ts";
import { until } from "../until.ts";

export const modelNames = ["minnow", "v2lite", "thinker"] as const;
export type ModelName = typeof modelNames[number];

/** Those whose replies end: a random network that thinks does not find the end of its thought. */
export const enders = ["minnow", "v2lite"] as const;

export const apiKey = "secret";

/** A form that a reply is held to; every value of it is short, so that random networks end too. */
export const Animal = z.strictObject({
  kind: z.enum(["fox", "fish", "bird"]),
  legs: z.literal([0, 2, 4]), // some clients take bounds of numbers out of a schema
  isHappy: z.boolean(),
});

/** A model and where it is served; `url` is without `/v1`. */
export interface Served {
  readonly model: LanguageModel;
  readonly url: string;
  close(): Promise<void>;
}

/** Serves models while the tests of a file run. @returns how a test gets at one */
export function servedModels(
  names: readonly ModelName[] = modelNames,
  options: HandlerOptions = {},
): (name: ModelName) => Served {
  const served = new Map<ModelName, Served>();
  before(async () => {
    for (const name of names) served.set(name, await serveModel(name, options));
  });
  after(async () => {
    for (const each of served.values()) await each.close();
  });
  return (name) => {
    const one = served.get(name);
    assert(one, `${name} is not served here`);
    return one;
  };
}

/** Serves one model until it is closed. */
export async function serveModel(name: ModelName, options: HandlerOptions = {}): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), "hadal-clients-"));
  const model = await load(name === "minnow" ? name : fixtureIn(folder, name));
  const end = new AbortController();
  let closed: Promise<void>;
  const url = await new Promise<string>((resolve, reject) => {
    const handler = openaiHandler(model, { apiKeys: [apiKey], modelName: name, ...options });
    closed = serve(handler, { port: 0, signal: end.signal, onListen: ({ url }) => resolve(url) });
    closed.catch(reject);
  });
  return {
    model,
    url,
    async close() {
      end.abort();
      await closed;
      await model.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** @returns the folder of a fixture model: written into `folder` where it is not there as it is */
function fixtureIn(folder: string, name: Exclude<ModelName, "minnow">): string {
  const v2lite = join(import.meta.dirname!, "../golden/v2lite");
  if (name === "v2lite") return v2lite;
  cpSync(v2lite, folder, { recursive: true });
  const config = JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8"));
  const begin = "{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}";
  assert(config.chat_template.includes(begin));
  config.chat_template = config.chat_template.replace(begin, begin.replace("'}}", "<think>\\n'}}"));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(config));
  return folder;
}

/** Waits until no request runs or waits. */
export async function untilIdle(model: LanguageModel): Promise<void> {
  await until(async () => {
    const { running, waiting } = (await model.stats()).requests;
    return running + waiting === 0;
  }, "all places are free");
}
