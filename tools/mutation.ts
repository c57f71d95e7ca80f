/**
 * Changes of sound files, for mutate.ts: bytes at random places, and values of JSON by what they are.
 * @module
 */

/** A parser: sound inputs, and what is done with a changed one. */
export interface Parser {
  /** What its inputs are, besides bytes: JSON, or safetensors with a header of JSON. */
  readonly kind?: "json" | "header";
  readonly seeds: readonly Uint8Array[];
  /** Processor time that one input may take; 2 s by default. */
  readonly mostMs?: number;
  /** @param folder for files of its own */
  parse(bytes: Uint8Array, seed: number, folder: string): void | Promise<void>;
  close?(): Promise<void>;
}

/** Of splitmix32. */
let state = 1;

/** Begins anew. */
export function seedRandom(seed: number): void {
  state = seed | 0;
}

/** A whole number below another. */
export function random(below: number): number {
  state = (state + 0x9e3779b9) | 0;
  let mixed = Math.imul(state ^ state >>> 16, 0x21f0aaad);
  mixed = Math.imul(mixed ^ mixed >>> 15, 0x735a2d97);
  return ((mixed ^ mixed >>> 15) >>> 0) % below;
}

const bytesThatMatter = [
  0,
  1,
  2,
  8,
  9,
  31,
  32,
  127,
  128,
  255,
  ...new TextEncoder().encode('0123456789{}[]",:-.eE\\%'),
];
const wordsThatMatter = [
  "-1",
  "0",
  "1e400",
  "1e-400",
  "null",
  "true",
  "[]",
  "{}",
  '""',
  "9007199254740993",
  "4294967296",
];
const numbersThatMatter = [
  0n,
  1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 61n + 1n,
  2n ** 63n - 1n,
  2n ** 64n - 1n,
];

/** Changes an input of a parser: as what it is, or as bytes. */
export function changed(input: Uint8Array, kind: Parser["kind"]): Uint8Array {
  if (kind === undefined || random(2) === 0) return mutated(input);
  if (kind === "header") return mutatedHeader(input);
  return new TextEncoder().encode(mutatedJson(new TextDecoder().decode(input)));
}

/** One to six changes of one to some bytes; half of them near the start, where headers are. */
function mutated(bytes: Uint8Array): Uint8Array {
  let out = bytes.slice();
  for (let n = 1 + random(6); n > 0; n--) {
    const at = random(1 + (random(2) ? out.length : Math.min(out.length, 4000)));
    const splice = (cut: number, put: Uint8Array) => {
      const next = new Uint8Array(Math.max(0, out.length - Math.min(cut, out.length - at)) + put.length);
      next.set(out.subarray(0, at));
      next.set(put, at);
      next.set(out.subarray(Math.min(out.length, at + cut)), at + put.length);
      out = next;
    };
    switch (random(8)) {
      case 0:
        splice(1, Uint8Array.of(random(256)));
        break;
      case 1:
      case 2:
        splice(1, Uint8Array.of(bytesThatMatter[random(bytesThatMatter.length)]));
        break;
      case 3:
        splice(random(20), new Uint8Array(0));
        break;
      case 4:
        splice(random(8), new TextEncoder().encode(wordsThatMatter[random(wordsThatMatter.length)]));
        break;
      case 5: {
        const word = new Uint8Array(8);
        new DataView(word.buffer).setBigUint64(0, numbersThatMatter[random(numbersThatMatter.length)], true);
        splice(random(2) ? 8 : 4, word.subarray(0, random(2) ? 8 : 4));
        break;
      }
      case 6: {
        const from = random(out.length + 1);
        splice(random(2) * 16, out.slice(from, from + random(64)));
        break;
      }
      default:
        if (random(8) === 0) out = out.slice(0, at);
    }
  }
  return out;
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** As they are written: some are numbers that no program can hold. */
const valuesThatMatter = [
  ...wordsThatMatter,
  "-0",
  "1.5",
  "2147483647",
  "2147483648",
  "1e300",
  "-1e300",
  "5e-324",
  "false",
  '"\\u0000"',
  '"\\ud800"',
  '"../../x"',
  '"/etc/passwd"',
  '"(a+)+$"',
  `"${"x".repeat(5000)}"`,
  `[${"0,".repeat(5000)}0]`,
  `${"[".repeat(200)}${"]".repeat(200)}`,
  `${'{"a":'.repeat(200)}1${"}".repeat(200)}`,
  '{"__proto__":{"a":1}}',
  '{"$ref":"#"}',
  "[null]",
];
const keysThatMatter = ["__proto__", "constructor", "toString", "", "a", "\u0000", "length"];

/** Changes one to three values of a JSON text: another value, a key twice or renamed, two that change places. */
function mutatedJson(text: string): string {
  const root: Json = JSON.parse(text);
  const marks: string[] = [];
  const mark = (written: string) => `\u0001${marks.push(written) - 1}\u0001`;
  for (let n = 1 + random(3); n > 0; n--) {
    const holders: (Json[] | { [key: string]: Json })[] = [];
    const walk = (value: Json) => {
      if (typeof value !== "object" || value === null) return;
      holders.push(value);
      for (const inner of Object.values(value)) walk(inner);
    };
    walk(root);
    if (holders.length === 0) break;
    const holder = holders[random(holders.length)], keys = Object.keys(holder);
    if (keys.length === 0) continue;
    const key = keys[random(keys.length)], at = holder as { [key: string]: Json };
    switch (random(8)) {
      case 0:
        if (Array.isArray(holder)) holder.splice(Number(key), 1);
        else delete holder[key];
        break;
      case 1: {
        const other = keys[random(keys.length)];
        [at[key], at[other]] = [at[other], at[key]];
        break;
      }
      case 2:
        if (Array.isArray(holder)) holder.push(...structuredClone(holder.slice(0, 50)));
        else at[mark(JSON.stringify(key))] = structuredClone(at[key]); // the same key, a second time
        break;
      case 3: {
        const name = random(2) ? keysThatMatter[random(keysThatMatter.length)] : `${key}s`;
        if (!Array.isArray(holder)) at[mark(JSON.stringify(name))] = at[key];
        break;
      }
      case 4: {
        const from = holders[random(holders.length)];
        at[key] = structuredClone(from);
        break;
      }
      default:
        at[key] = mark(valuesThatMatter[random(valuesThatMatter.length)]);
    }
  }
  return JSON.stringify(root).replace(/"\\u0001(\d+)\\u0001"/g, (_, i) => marks[Number(i)]);
}

/** Changes the JSON of a safetensors header. */
function mutatedHeader(file: Uint8Array): Uint8Array {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = new TextEncoder().encode(
    mutatedJson(new TextDecoder().decode(file.subarray(8, 8 + length))),
  );
  const out = new Uint8Array(8 + header.length + file.length - 8 - length);
  new DataView(out.buffer).setBigUint64(0, BigInt(header.length), true);
  out.set(header, 8);
  out.set(file.subarray(8 + length), 8 + header.length);
  return out;
}
