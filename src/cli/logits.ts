/**
 * `hadal logits`: what a model expects after each token of a text.
 * @module
 */
import { Buffer } from "node:buffer";
import { closeSync, openSync, writeSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { attempt } from "../checkpoint/write_safetensors.ts";
import type { LanguageModel } from "../language_model.ts";
import { publish } from "../new_model.ts";
import { forParseArgs, wholeNumber } from "./flags.ts";
import { loadModel, modelAndWords, modelFlags, modelHelp, moreModelHelp, sourceHelp } from "./model_flags.ts";
import { promptText } from "./prompt_text.ts";
import { stopSignal } from "./stop_signal.ts";

const help = `Says what a model expects after each token of a text, and how well it foresaw the text

  hadal logits MODEL [TEXT…]               hadal logits minnow "Once upon a time"

${sourceHelp}
  TEXT                   by default what comes through the pipe
  --tokens LIST          token ids instead of a text, such as 0,381,1200
  --top N                likeliest tokens to show at each place, 3 by default, 0 for none
  --json                 one JSON object a line and token, and one of the whole
  --npy FILE             also writes all logits, (tokens, vocab) in f32, as numpy.load reads them

${modelHelp}
${moreModelHelp}
  --help                 this text`;

const flags = {
  ...modelFlags,
  tokens: "text",
  top: "text",
  json: "switch",
  npy: "text",
  help: "switch",
} as const;

/** @throws {Error} in one sentence, why there are none */
export async function runLogits(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: forParseArgs(flags) });
  if (values.help) return console.log(help);
  const { source, words } = modelAndWords("logits", values, positionals);
  const nTop = wholeNumber("top", (values.top as string | undefined) ?? "3", 0, 100);
  const ids = values.tokens === undefined ? null : idsOf(values.tokens as string);
  if (ids !== null && words.length > 0) throw new Error("--tokens: a text was given as well");
  const stop = stopSignal();
  const text = ids === null ? await promptText("logits", words) : null;
  await using model = await loadModel(source, stop);
  stop.addEventListener("abort", () => process.exit(130));
  const tokens = ids ?? Array.from(model.promptTokens(text!));
  const logits = await model.logits(tokens);
  const vocab = logits.length / tokens.length;
  if (values.npy !== undefined) {
    await publish(values.npy as string, (path) => {
      attempt(values.npy as string, () => writeNpy(path, logits, tokens.length));
      return Promise.resolve();
    });
  }
  const textOf = tokenTexts(model);
  let sum = 0;
  for (const [i, token] of tokens.entries()) {
    const before = i === 0 ? null : logits.subarray((i - 1) * vocab, i * vocab);
    const logprob = before === null ? null : before[token] - logSumExp(before);
    sum += logprob ?? 0;
    const next = likeliest(logits.subarray(i * vocab, (i + 1) * vocab), nTop)
      .map((found) => ({ ...found, text: textOf(found.token) }));
    const place = { token, text: textOf(token), logprob, next };
    console.log(values.json ? JSON.stringify(place) : lineOf(place));
  }
  const n = tokens.length - 1;
  const perplexity = n > 0 ? Math.exp(-sum / n) : null;
  if (values.json) console.log(JSON.stringify({ tokens: tokens.length, logprob: sum, perplexity }));
  else if (perplexity !== null) console.log(`${tokens.length} tokens, perplexity ${perplexity.toFixed(4)}`);
}

function idsOf(list: string): number[] {
  if (/^\s*\d{1,10}(\s*,\s*\d{1,10})*\s*$/.test(list)) return list.split(",").map(Number);
  throw new Error(`--tokens: "${list}" was given, ids with commas between them are needed`);
}

/** @returns the text of a token; null of a model without a tokenizer */
function tokenTexts(model: LanguageModel): (token: number) => string | null {
  try {
    const { tokenizer } = model;
    return (token) => token < tokenizer.vocabSize ? tokenizer.tokenText(token) : null;
  } catch {
    return () => null; // it knows token ids alone
  }
}

/** ln Σ exp x, in f64. */
function logSumExp(x: Float32Array): number {
  const most = x.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const value of x) sum += Math.exp(value - most);
  return most + Math.log(sum);
}

/** @returns the `n` tokens of the largest logits, largest first, the smaller id where two are equal */
function likeliest(logits: Float32Array, n: number): { token: number; logprob: number }[] {
  const found: number[] = [];
  for (let token = 0; token < logits.length && n > 0; token++) {
    if (found.length === n && logits[token] <= logits[found[n - 1]]) continue;
    let at = found.length;
    while (at > 0 && logits[found[at - 1]] < logits[token]) at--;
    found.splice(at, 0, token);
    found.length = Math.min(found.length, n);
  }
  const whole = n > 0 ? logSumExp(logits) : 0;
  return found.map((token) => ({ token, logprob: logits[token] - whole }));
}

interface Place {
  readonly token: number;
  readonly text: string | null;
  readonly logprob: number | null;
  readonly next: readonly { token: number; text: string | null; logprob: number }[];
}

/** Such as `   381   -2.184  " upon"   then " a" 98.2 %, " the" 1.1 %`. */
function lineOf({ token, text, logprob, next }: Place): string {
  const shown = (text: string | null, token: number) => text === null ? String(token) : JSON.stringify(text);
  const number = (logprob?.toFixed(3) ?? "").padStart(9);
  const then = next.map(({ token, text, logprob }) =>
    `${shown(text, token)} ${(100 * Math.exp(logprob)).toFixed(1)} %`
  );
  const rest = then.length === 0 ? "" : `  then ${then.join(", ")}`;
  return `${String(token).padStart(7)} ${number}  ${
    text === null ? "" : shown(text, token).padEnd(14)
  }${rest}`;
}

/** numpy's format, version 1.0 (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). */
function writeNpy(path: string, values: Float32Array, rows: number): void {
  const shape = `(${rows}, ${values.length / rows})`;
  const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  const lengthBytes = 10 + dictionary.length + 1;
  const header = dictionary + " ".repeat(-lengthBytes & 63) + "\n";
  const file = openSync(path, "wx");
  try {
    const start = Buffer.concat([
      Buffer.from("\x93NUMPY\x01\0", "latin1"),
      Buffer.from([header.length & 255, header.length >> 8]),
      Buffer.from(header, "latin1"),
    ]);
    for (const bytes of [start, new Uint8Array(values.buffer, values.byteOffset, values.byteLength)]) {
      for (let done = 0; done < bytes.length;) {
        done += writeSync(file, bytes, done, Math.min(bytes.length - done, 1 << 30));
      }
    }
  } finally {
    closeSync(file);
  }
}
