/**
 * How JSON is written (RFC 8259), as far as a model is let write it: white space is a space, or a line
 * break with some indentation; numbers keep within what a double holds exactly, so that what a reader
 * parses is what was written.
 * @module
 */
import { anyChar, both, type CharSet, charSet, charsOf, contains, without } from "./char_set.ts";
import { type Dfa, dfaOf, repeated } from "./dfa.ts";
import { chars, choice, type Expr, optional, repeat, rule, sequence, terminal, text } from "./expr.ts";
import { Budget } from "./limits.ts";
import { QuotedText } from "./quoted_text.ts";

/** Characters by which a line is indented at most: small models would go on and on. */
const mostIndent = 20;

/** Inside of brackets and after commas: nothing, a space, or a new line. */
export const space: Expr = optional(
  choice(text(" "), sequence(text("\n"), repeat(chars(charsOf(" \t")), 0, mostIndent))),
);

export const comma: Expr = sequence(text(","), space);
export const colon: Expr = sequence(text(":"), optional(text(" ")));

const digit = chars(charsOf("0123456789"));
const hexDigit = chars(charsOf("0123456789abcdefABCDEF"));

/** Characters that stand for themselves in a string. */
const plain: CharSet = without(anyChar, [0, 0x1f, 0x22, 0x22, 0x5c, 0x5c]);
/** Characters that a backslash makes of others. */
const shortEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "\b": "b",
  "\f": "f",
  "\n": "n",
  "\r": "r",
  "\t": "t",
};

/** `\uXXXX` for a character that is no half of a pair, or for a pair. */
const unicodeEscape = sequence(
  text("\\u"),
  choice(
    sequence(chars(charsOf("0123456789abcefABCEF")), hexDigit, hexDigit, hexDigit),
    sequence(chars(charsOf("dD")), chars(charsOf("01234567")), hexDigit, hexDigit),
    sequence(
      chars(charsOf("dD")),
      chars(charsOf("89abAB")),
      hexDigit,
      hexDigit,
      text("\\u"),
      chars(charsOf("dD")),
      chars(charsOf("cdefCDEF")),
      hexDigit,
      hexDigit,
    ),
  ),
);

/** One character of a string, in any of its spellings. */
const character = choice(
  chars(plain),
  sequence(text("\\"), chars(charsOf('"\\/bfnrt'))),
  unicodeEscape,
);

/** One of some characters, each in one spelling alone: what differs then differs in its bytes. */
export function spelled(set: CharSet): Expr {
  const escapes = Object.entries(shortEscapes)
    .filter(([meant]) => contains(set, meant.charCodeAt(0)))
    .map(([, written]) => text(`\\${written}`));
  const others = both(set, charSet([0, 7, 0xb, 0xb, 0xe, 0x1f]));
  const control: Expr[] = [];
  for (let code = 0; code < 0x20; code++) {
    if (contains(others, code)) control.push(text(`\\u${code.toString(16).padStart(4, "0")}`));
  }
  const own = both(set, plain);
  return choice(...(own.length > 0 ? [chars(own)] : []), ...escapes, ...control);
}

/** An expression over the characters of a string, over how they are written in JSON. */
export function spelledExpr(expr: Expr): Expr {
  switch (expr.kind) {
    case "chars":
      return spelled(expr.set);
    case "sequence":
    case "choice":
      return { ...expr, items: expr.items.map(spelledExpr) };
    case "repeat":
      return { ...expr, item: spelledExpr(expr.item) };
    default:
      return expr;
  }
}

let characters: Dfa | null = null;

/** A string of so many characters. */
export function stringOf(min: number, max: number): Expr {
  characters ??= repeated(dfaOf(character, new Budget()));
  return terminal(new QuotedText(characters, min, max));
}

/** Digits after which a double may not keep all of them. */
export const exactDigits = 15;

const positive = chars(charsOf("123456789"));

/** A whole number of at most 15 digits. */
export const integer: Expr = choice(
  text("0"),
  sequence(optional(text("-")), positive, repeat(digit, 0, exactDigits - 1)),
);

/** A number of at most 15 digits before the point, 15 after it, and an exponent of two digits. */
export const number: Expr = sequence(
  optional(text("-")),
  choice(text("0"), sequence(positive, repeat(digit, 0, exactDigits - 1))),
  optional(sequence(text("."), repeat(digit, 1, exactDigits))),
  optional(sequence(chars(charsOf("eE")), optional(chars(charsOf("+-"))), digit, optional(digit))),
);

let numberTerminal: Expr | null = null, integerTerminal: Expr | null = null, anyString: Expr | null = null;

/** The same terminals for all grammars: what is known of their tokens is then known to all. */
export const anyNumber = (): Expr => numberTerminal ??= terminal(dfaOf(number, new Budget()));
export const anyInteger = (): Expr => integerTerminal ??= terminal(dfaOf(integer, new Budget()));
export const stringTerminal = (): Expr => anyString ??= stringOf(0, Infinity);

/** Names of the rules below; no rule of a caller has such a name. */
export const anyRules = { value: "JSON value", object: "JSON object", array: "JSON array" };

/** The rules of JSON itself. */
export function jsonRules(): Map<string, Expr> {
  const string = stringTerminal();
  const value = rule(anyRules.value);
  const pair = sequence(string, colon, value);
  return new Map([
    [
      anyRules.value,
      choice(
        string,
        anyNumber(),
        text("true"),
        text("false"),
        text("null"),
        rule(anyRules.object),
        rule(anyRules.array),
      ),
    ],
    [anyRules.object, enclosed("{", "}", optional(listOf(pair, pair)))],
    [anyRules.array, enclosed("[", "]", optional(listOf(value, value)))],
  ]);
}

/** One item, and any number of others. */
function listOf(first: Expr, other: Expr): Expr {
  return sequence(first, repeat(sequence(comma, other), 0, Infinity));
}

/** What stands between two brackets; where it is not there, neither is white space. */
export function enclosed(open: string, close: string, inner: Expr): Expr {
  return sequence(text(open), space, inner, space, text(close));
}

/** The text of a value, in one spelling. */
export function valueText(value: unknown): Expr {
  return text(JSON.stringify(value));
}
