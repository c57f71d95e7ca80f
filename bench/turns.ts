/**
 * Does a turn of a long conversation cost what a first one costs? The same conversation without the prefix
 * cache, with it, and with it in a folder from which another load of the model goes on after three quarters of
 * the turns: for each turn the tokens that were known, and the time and processor time to its first token, the
 * best of some rounds. Ends with 1 where the three do not say the same.
 *
 *     turns.ts [--model FOLDER] [--turns 20] [--tokens 20] [--rounds 3] [--pause 250]
 *
 * Processor time is that of all threads. In a pause, in ms, whoever asks would read the reply; the engine reads it
 * too, as the prompt tokens that it is from then on. Without one that is part of the next turn's time.
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type LanguageModel, load, type LoadOptions, type Message } from "../mod.ts";

const { values: args } = parseArgs({
  options: {
    model: { type: "string", default: "minnow" },
    turns: { type: "string", default: "20" },
    tokens: { type: "string", default: "20" },
    rounds: { type: "string", default: "3" },
    pause: { type: "string", default: "250" },
  },
});
const nTurns = Number(args.turns);

interface Turn {
  readonly text: string;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** To the first token. */
  readonly ms: number;
  readonly processorMs: number;
}

async function answer(model: LanguageModel, messages: readonly Message[], seed: number): Promise<Turn> {
  const start = performance.now(), before = process.cpuUsage();
  const reply = model.chat(messages, { maxTokens: Number(args.tokens), seed, ignoreEos: true });
  let ms = NaN, processorMs = NaN;
  for await (const _ of reply) {
    if (!Number.isNaN(ms)) continue;
    ms = performance.now() - start;
    const { user, system } = process.cpuUsage(before);
    processorMs = (user + system) / 1000;
  }
  const { text, usage: { promptTokens, cachedTokens } } = await reply;
  return { text, promptTokens, cachedTokens, ms, processorMs };
}

/** Adds turns to a conversation, with a model of its own, until there are so many. */
async function converse(options: LoadOptions, messages: Message[], until: number): Promise<Turn[]> {
  await using model = await load(args.model, { maxSequences: 1, ...options });
  const other: Message[] = [{ role: "user", content: "What do you see from your window?" }];
  for (let seed = 0; seed < 3; seed++) await model.chat(other, { maxTokens: 8, seed, tenant: "other" }); // warms up
  const turns: Turn[] = [];
  while (messages.length < 2 * until) {
    const topic = ["the fox", "a lamp", "Ann and her brother"][messages.length / 2 % 3];
    messages.push({ role: "user", content: `And what happens next, when ${topic} comes back?` });
    turns.push(await answer(model, messages, messages.length));
    messages.push({ role: "assistant", content: turns.at(-1)!.text });
    await setTimeout(Number(args.pause));
  }
  return turns;
}

/** @returns a conversation whose last quarter another load goes on with */
async function withRestart(): Promise<Turn[]> {
  const folder = mkdtempSync(join(tmpdir(), "hadal-turns-"));
  try {
    const messages: Message[] = [], options = { prefixCache: { folder } };
    const first = await converse(options, messages, Math.ceil(nTurns * 3 / 4));
    return [...first, ...await converse(options, messages, nTurns)];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const ways = [
  { name: "no cache", run: () => converse({ prefixCache: false }, [], nTurns), rounds: [] as Turn[][] },
  { name: "cache", run: () => converse({}, [], nTurns), rounds: [] as Turn[][] },
  { name: "restarted", run: withRestart, rounds: [] as Turn[][] },
];
for (let round = 0; round < Number(args.rounds); round++) {
  for (const { run, rounds } of ways) rounds.push(await run());
}

const runtime = "Deno" in globalThis ? "Deno" : "Bun";
console.log(
  `${args.model}, ${runtime}, best of ${args.rounds}; ms (processor ms) to the first token of a turn\n`,
);
console.log(`| turn | prompt | ${ways.map(({ name }) => `${name}: known | first token`).join(" | ")} |`);
console.log(`| ---: | ---: | ${ways.map(() => "---: | ---:").join(" | ")} |`);
for (let turn = 0; turn < nTurns; turn++) {
  const cells = ways.map(({ rounds }) => {
    const least = (of: (turn: Turn) => number) =>
      Math.min(...rounds.map((turns) => of(turns[turn]))).toFixed(1);
    const known = least(({ cachedTokens }) => cachedTokens).replace(".0", "");
    return `${known} | ${least(({ ms }) => ms)} (${least(({ processorMs }) => processorMs)})`;
  });
  console.log(`| ${turn + 1} | ${ways[0].rounds[0][turn].promptTokens} | ${cells.join(" | ")} |`);
}
const said = new Set(
  ways.flatMap(({ rounds }) => rounds.map((turns) => turns.map(({ text }) => text).join("\0"))),
);
console.log(`\nall say the same: ${said.size === 1 ? "yes" : "NO"}`);
if (said.size !== 1) process.exitCode = 1;
