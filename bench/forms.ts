/**
 * What does a form cost? minnow writes as many tokens freely and held to a form, by turns as A B B A, one stream,
 * the likeliest token each time: median over the rounds of what the form adds to a token, and between which figures
 * it lies with a certainty of 95 %.
 *
 *     deno run -A bench/forms.ts [--model FOLDER] [--tokens 96] [--rounds 45]
 *     bun bench/forms.ts …
 * @module
 */
import { parseArgs } from "node:util";
import { type GenerateOptions, load } from "../mod.ts";
import { inFigures } from "./figures.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "minnow" },
    tokens: { type: "string", default: "96" },
    rounds: { type: "string", default: "45" },
  },
});
const [maxTokens, nRounds] = [values.tokens, values.rounds].map(Number);
const text = { type: "string" }, whole = { type: "integer" };
const person = {
  type: "object",
  properties: { name: text, age: whole, home: text, friends: { type: "array", items: text } },
  required: ["name", "age", "home", "friends"],
  additionalProperties: false,
};
const forms: Record<string, GenerateOptions> = {
  "a JSON schema": { jsonSchema: { type: "array", items: person, minItems: 3 } },
  "json_object": { jsonObject: true, temperature: 1, seed: 3 }, // the likeliest one is empty
  "a regular expression": { regex: "([A-Z][a-z]{1,11}( [a-z]{1,11}){3,12}[.!?] ){20,40}" },
  "counted free text": { regex: "Title: [^\\n]{10,200}\\nText: (.|\\n){100,2000}" },
  "a grammar": { grammar: 'root ::= (line "\\n")+\nline ::= [0-9]+ ". " [^\\n]+' },
};

await using model = await load(values.model);
const prompt = "Once upon a time there was a little fox who lived in a lamp. ";

/** @returns ms a token after the first, and how many there were */
async function msOf(options: GenerateOptions): Promise<{ ms: number; n: number }> {
  const { tokens, timings } = await model.complete(prompt, {
    maxTokens,
    ...options,
    temperature: options.temperature ?? 0,
  });
  return { ms: timings.decodeMs / (tokens.length - 1), n: tokens.length };
}

for (const [name, form] of Object.entries(forms)) {
  const { n } = await msOf(form); // compiled, and its masks made
  const { temperature, seed } = form;
  const free = { maxTokens: n, ignoreEos: true, temperature, seed };
  await msOf(free);
  const added: number[] = [], own: number[] = [];
  for (let round = 0; round < nRounds; round++) {
    const there = [(await msOf(free)).ms, (await msOf(form)).ms];
    const back = [(await msOf(form)).ms, (await msOf(free)).ms];
    added.push(100 * ((there[1] + back[0]) / (there[0] + back[1]) - 1));
    own.push((there[0] + back[1]) / 2);
  }
  console.log(`${name}: ${inFigures(added, 1, "%")} beside ${inFigures(own, 3, "ms")} a token, ${n} tokens`);
}
