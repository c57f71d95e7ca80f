/**
 * Grammars as llama-server's users write them (GBNF), read with free line breaks:
 *
 *     root  ::= "{" pair ("," pair)* "}"      # a comment
 *     pair  ::= [a-z]+ ":" ("yes" | "no")
 *
 * A rule is `name ::= alternatives`, the whole text is the rule `root`. Texts stand in "…" or '…', sets
 * of characters in […] or [^…], `.` is any character, ( ) groups; `*`, `+`, `?`, `{2}`, `{2,}` and `{2,5}` repeat. Escapes: \n \r \t \\ \" \' \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH. A rule must read something
 * before it calls itself.
 * @module
 */
import { anyChar, type CharSet, CharSetBuilder, without } from "./char_set.ts";
import { chars, choice, type Expr, repeat, rule, type Rules, sequence, text } from "./expr.ts";
import { limits } from "./limits.ts";
import { Scanner } from "./scanner.ts";

const param = "grammar";
const nameCharacter = /^[A-Za-z0-9_-]$/;
const controls: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };
const hexDigits: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** @throws {RequestError} saying where it is no grammar */
export function parseEbnf(source: string): Rules {
  const scanner = new Scanner(source, param);
  if (source.length > limits.sourceBytes) throw scanner.error("it is too long");
  const parser = new EbnfParser(scanner);
  const rules = new Map<string, Expr>();
  parser.space();
  while (!scanner.isAtEnd) {
    const name = parser.name();
    if (name === "") throw scanner.error("the name of a rule is needed");
    parser.space();
    scanner.need("::=");
    if (rules.has(name)) throw scanner.error(`there are two rules ${JSON.stringify(name)}`);
    parser.space();
    rules.set(name, parser.alternatives());
    parser.space();
  }
  if (!rules.has("root")) throw scanner.error('a rule "root" is needed');
  return { rules, root: "root" };
}

class EbnfParser {
  readonly #scanner: Scanner;

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  /** White space and comments. */
  space(): void {
    const scanner = this.#scanner;
    while (true) {
      scanner.takeWhile((character) => /^\s$/.test(character));
      if (!scanner.take("#")) return;
      scanner.takeWhile((character) => character !== "\n");
    }
  }

  name(): string {
    return this.#scanner.takeWhile((character) => nameCharacter.test(character));
  }

  alternatives(): Expr {
    return this.#scanner.nest(() => {
      const items = [this.#sequence()];
      while (this.#scanner.take("|")) {
        this.space();
        items.push(this.#sequence());
      }
      return choice(...items);
    });
  }

  #sequence(): Expr {
    const items: Expr[] = [];
    while (true) {
      const item = this.#item();
      if (item === null) return sequence(...items);
      items.push(item);
      this.space();
    }
  }

  /** @returns null where the sequence ends */
  #item(): Expr | null {
    const scanner = this.#scanner;
    const character = scanner.peek();
    if (character === "" || character === "|" || character === ")") return null;
    if (nameCharacter.test(character)) return this.#ruleItem();
    return this.#repeated(this.#atom());
  }

  #ruleItem(): Expr | null {
    const scanner = this.#scanner;
    const from = scanner.at;
    const name = this.name();
    const end = scanner.at;
    this.space();
    const isNextRule = scanner.take("::=");
    scanner.at = isNextRule ? from : end;
    return isNextRule ? null : this.#repeated(rule(name));
  }

  #atom(): Expr {
    const scanner = this.#scanner;
    const character = scanner.next();
    switch (character) {
      case '"':
      case "'":
        return this.#literal(character);
      case "[":
        return chars(this.#charClass());
      case ".":
        return chars(anyChar);
      case "(": {
        this.space();
        const inner = this.alternatives();
        scanner.need(")");
        return inner;
      }
      default:
        throw scanner.error("a text, a set of characters, a group or the name of a rule is needed");
    }
  }

  #repeated(item: Expr): Expr {
    const scanner = this.#scanner;
    let repeated = item;
    while (true) {
      if (scanner.take("*")) repeated = repeat(repeated, 0, Infinity);
      else if (scanner.take("+")) repeated = repeat(repeated, 1, Infinity);
      else if (scanner.take("?")) repeated = repeat(repeated, 0, 1);
      else {
        const count = scanner.count();
        if (count === null) return repeated;
        if (count.min > limits.count || (count.max !== Infinity && count.max > limits.count)) {
          throw scanner.error(`at most ${limits.count} repetitions are counted`);
        }
        repeated = repeat(repeated, count.min, count.max);
      }
    }
  }

  #literal(quote: string): Expr {
    const scanner = this.#scanner;
    let characters = "";
    while (!scanner.take(quote)) {
      const character = scanner.next();
      characters += character === "\\" ? this.#escape() : character;
    }
    return text(characters);
  }

  #charClass(): CharSet {
    const scanner = this.#scanner;
    const isNegated = scanner.take("^");
    const item = () => {
      const character = scanner.next();
      return (character === "\\" ? this.#escape() : character).codePointAt(0)!;
    };
    const builder = new CharSetBuilder();
    while (!scanner.take("]")) {
      const first = item();
      const isRange = scanner.peek() === "-" && scanner.peek(1) !== "]";
      if (isRange) scanner.next();
      const last = isRange ? item() : first;
      if (last < first) throw scanner.error("a range goes from one character to a later one");
      builder.add([first, last]);
    }
    const set = builder.done();
    return isNegated ? without(anyChar, set) : set;
  }

  #escape(): string {
    const scanner = this.#scanner;
    const character = scanner.next();
    if (Object.hasOwn(controls, character)) return controls[character];
    if (Object.hasOwn(hexDigits, character)) {
      const code = scanner.hex(hexDigits[character]);
      if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        throw scanner.error("the number of a character is needed");
      }
      return String.fromCodePoint(code);
    }
    if (/^[A-Za-z0-9]$/.test(character)) throw scanner.error(`\\${character} is not known`);
    return character;
  }
}
