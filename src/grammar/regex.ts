/**
 * Regular expressions as ECMAScript writes them with the flag `u`, as far as they are regular: no
 * lookaround but lookahead right behind `^`, no word boundaries, no references back. Lazy quantifiers mean
 * the same as greedy ones.
 * @module
 */
import { anyChar, type CharSet, charSet, CharSetBuilder, charsOf, either, without } from "./char_set.ts";
import { chars, choice, type Expr, repeat, sequence } from "./expr.ts";
import { limits } from "./limits.ts";
import { Scanner } from "./scanner.ts";

const digits = charSet([0x30, 0x39]);
const word = charSet([0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a]);
const lineEnds = charsOf("\n\r\u2028\u2029");
const space = either(
  charsOf("\t\v\f \u00a0\u1680\u202f\u205f\u3000\ufeff"),
  either(charSet([0x2000, 0x200a]), lineEnds),
);
const classes: Readonly<Record<string, CharSet>> = {
  d: digits,
  D: without(anyChar, digits),
  w: word,
  W: without(anyChar, word),
  s: space,
  S: without(anyChar, space),
};
const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };

/**
 * @param param what errors call the pattern
 * @returns the pattern alone: whether it is to match a whole text or a part of it is the caller's matter
 * @throws {RequestError} it is no pattern, or none that an automaton can follow
 */
export function parseRegex(pattern: string, param: string): Expr {
  const scanner = new Scanner(pattern, param);
  if (pattern.length > limits.patternLength) throw scanner.error("it is too long");
  const parser = new RegexParser(scanner);
  const expr = parser.alternatives();
  if (!scanner.isAtEnd) throw scanner.error(`${JSON.stringify(scanner.peek())} closes no group`);
  return expr;
}

/** What a text has to begin with, or must not. */
export interface Lookahead {
  readonly expr: Expr;
  readonly isNegative: boolean;
}

/**
 * A pattern, and the lookaheads `(?=…)` and `(?!…)` that stand right behind its `^`.
 * @throws {RequestError} as `parseRegex`
 */
export function parseLookaheads(
  pattern: string,
  param: string,
): { readonly expr: Expr; readonly lookaheads: readonly Lookahead[] } {
  if (!/^\^\(\?[=!]/.test(pattern)) return { expr: parseRegex(pattern, param), lookaheads: [] };
  const scanner = new Scanner(pattern, param);
  if (pattern.length > limits.patternLength) throw scanner.error("it is too long");
  const parser = new RegexParser(scanner);
  const lookaheads: Lookahead[] = [];
  scanner.need("^");
  for (let isNegative; (isNegative = scanner.take("(?!")) || scanner.take("(?=");) {
    lookaheads.push({ expr: parser.alternatives(), isNegative });
    scanner.need(")");
  }
  const expr = parser.alternatives();
  if (!scanner.isAtEnd) throw scanner.error(`${JSON.stringify(scanner.peek())} closes no group`);
  if (expr.kind === "choice") throw scanner.error("lookahead before alternatives cannot be enforced");
  return { expr: sequence({ kind: "edge", at: "start" }, expr), lookaheads };
}

/** A text that begins with what a pattern matches. */
export function begun(pattern: Expr): Expr {
  return sequence({ kind: "edge", at: "start" }, pattern, repeat(chars(anyChar), 0, Infinity));
}

/** A text of which a pattern matches a part: the meaning of `pattern` in a JSON schema. */
export function searched(pattern: Expr): Expr {
  const anything = repeat(chars(anyChar), 0, Infinity);
  return sequence(anything, pattern, anything);
}

class RegexParser {
  readonly #scanner: Scanner;

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  alternatives(): Expr {
    return this.#scanner.nest(() => {
      const items = [this.#sequence()];
      while (this.#scanner.take("|")) items.push(this.#sequence());
      return choice(...items);
    });
  }

  #sequence(): Expr {
    const items: Expr[] = [];
    while (!this.#scanner.isAtEnd && this.#scanner.peek() !== "|" && this.#scanner.peek() !== ")") {
      items.push(this.#quantified());
    }
    return sequence(...items);
  }

  #quantified(): Expr {
    const scanner = this.#scanner;
    const item = this.#atom();
    const count = scanner.take("*")
      ? { min: 0, max: Infinity }
      : scanner.take("+")
      ? { min: 1, max: Infinity }
      : scanner.take("?")
      ? { min: 0, max: 1 }
      : scanner.count();
    if (count === null) return item;
    if (item.kind === "edge") throw scanner.error("^ and $ cannot be repeated");
    scanner.take("?");
    if ("*+?".includes(scanner.peek()) && !scanner.isAtEnd) throw scanner.error("nothing is there to repeat");
    return repeat(item, count.min, count.max);
  }

  #atom(): Expr {
    const scanner = this.#scanner;
    const character = scanner.next();
    switch (character) {
      case "^":
        return { kind: "edge", at: "start" };
      case "$":
        return { kind: "edge", at: "end" };
      case ".":
        return chars(without(anyChar, lineEnds));
      case "(":
        return this.#group();
      case "[":
        return chars(this.#charClass());
      case "\\":
        return chars(this.#escape(false));
      case "*":
      case "+":
      case "?":
        throw scanner.error("nothing is there to repeat");
      default:
        return chars(charsOf(character));
    }
  }

  #group(): Expr {
    const scanner = this.#scanner;
    if (scanner.take("?")) {
      const isNamed = scanner.peek() === "<" && !"=!".includes(scanner.peek(1));
      if (isNamed) {
        scanner.takeWhile((character) => character !== ">");
        scanner.need(">");
      } else if (!scanner.take(":")) {
        throw scanner.error("lookaround and modifiers cannot be enforced");
      }
    }
    const inner = this.alternatives();
    scanner.need(")");
    return inner;
  }

  #charClass(): CharSet {
    const scanner = this.#scanner;
    const isNegated = scanner.take("^");
    const builder = new CharSetBuilder();
    while (!scanner.take("]")) {
      const first = this.#classItem();
      const isRange = scanner.peek() === "-" && scanner.peek(1) !== "]" && scanner.peek(1) !== "";
      if (!isRange) {
        builder.add(first);
        continue;
      }
      scanner.next();
      const last = this.#classItem();
      if (first[0] !== first[first.length - 1] || last[0] !== last[last.length - 1] || last[0] < first[0]) {
        throw scanner.error("a range goes from one character to a later one");
      }
      builder.add([first[0], last[0]]);
    }
    const set = builder.done();
    return isNegated ? without(anyChar, set) : set;
  }

  #classItem(): CharSet {
    const character = this.#scanner.next();
    return character === "\\" ? this.#escape(true) : charsOf(character);
  }

  #escape(isInClass: boolean): CharSet {
    const scanner = this.#scanner;
    const character = scanner.next();
    if (Object.hasOwn(classes, character)) return classes[character];
    const isDigit = (one: string) => one >= "0" && one <= "9";
    if (character === "b" && isInClass) return charSet([8, 8]);
    if (character === "b" || character === "B") throw scanner.error("word boundaries cannot be enforced");
    if (character === "k" || (isDigit(character) && (character !== "0" || isDigit(scanner.peek())))) {
      throw scanner.error("references to groups cannot be enforced");
    }
    if (Object.hasOwn(controls, character)) return one(controls[character]);
    switch (character) {
      case "c":
        if (!/^[A-Za-z]$/.test(scanner.peek())) throw scanner.error("\\c needs a letter");
        return one(scanner.next().charCodeAt(0) % 32);
      case "x":
        return one(scanner.hex(2));
      case "u":
        return one(this.#unicode());
      case "p":
      case "P":
        return this.#property(character === "P");
      default:
        if (/^[A-Za-z]$/.test(character)) throw scanner.error(`\\${character} is not known`);
        return charsOf(character);
    }
  }

  /** After `\u`: four digits, two times four for a pair of surrogates, or any number in braces. */
  #unicode(): number {
    const scanner = this.#scanner;
    if (scanner.take("{")) {
      const written = scanner.takeWhile((character) => /^[0-9a-fA-F]$/.test(character));
      scanner.need("}");
      const code = written === "" ? NaN : Number.parseInt(written, 16);
      if (!(code <= 0x10ffff)) throw scanner.error("the number of a character is needed");
      return code;
    }
    const code = scanner.hex(4);
    const isHigh = code >= 0xd800 && code < 0xdc00;
    if (!isHigh || !scanner.take("\\u")) return code;
    const low = scanner.hex(4);
    if (low < 0xdc00 || low > 0xdfff) throw scanner.error("half a pair of surrogates is no character");
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }

  #property(isNegated: boolean): CharSet {
    const scanner = this.#scanner;
    scanner.need("{");
    const name = scanner.takeWhile((character) => /^[A-Za-z0-9_=]$/.test(character));
    scanner.need("}");
    const set = propertySet(name);
    if (set === null) throw scanner.error(`the property ${JSON.stringify(name)} is not known`);
    return isNegated ? without(anyChar, set) : set;
  }
}

const one = (code: number): CharSet => charSet([code, code]);

const properties = new Map<string, CharSet | null>();
/** Names that are kept: there are a few hundred properties. */
const mostProperties = 64;

/** The characters of a Unicode property, as this runtime's own expressions know it; null where they do not. */
function propertySet(name: string): CharSet | null {
  const known = properties.get(name);
  if (known !== undefined) return known;
  if (properties.size >= mostProperties) properties.clear();
  const set = findProperty(name);
  properties.set(name, set);
  return set;
}

function findProperty(name: string): CharSet | null {
  let runs: RegExp;
  try {
    runs = new RegExp(`\\p{${name}}+`, "gu");
  } catch {
    return null; // told by the caller
  }
  const ranges: number[] = [];
  // In pieces, since one text of all characters would take megabytes. Surrogates are no characters.
  for (let first = 0; first <= 0x10ffff; first += 0x1000) {
    if (first >= 0xd000 && first < 0xe000) {
      if (first === 0xd000) collect(0xd000, 0xd7ff);
      continue;
    }
    collect(first, first + 0xfff);
  }
  return charSet(ranges);

  function collect(first: number, last: number): void {
    const text = String.fromCodePoint(...Array.from({ length: last - first + 1 }, (_, i) => first + i));
    for (const [run] of text.matchAll(runs)) {
      const characters = [...run];
      ranges.push(characters[0].codePointAt(0)!, characters[characters.length - 1].codePointAt(0)!);
    }
  }
}
