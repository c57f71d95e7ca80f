/**
 * What is known of a field: whether it is honoured, refused by name, or cannot change a reply; with a value that
 * matters, so that the claim can be tried.
 */

/** A claim about one field. */
export type Row =
  /** The answer is another one with it; `given` is what it needs beside it. */
  | { readonly is: "honoured"; readonly value: unknown; readonly given?: object }
  /** What it does is seen in a test of its own, of that name. */
  | { readonly is: "seen"; readonly file: string; readonly test: string }
  /** Refused by its name; values that ask for nothing pass, and change nothing. */
  | {
    readonly is: "refused";
    readonly value: unknown;
    readonly nothing: readonly unknown[];
    readonly status: number;
    /** Of the part of the value that is at fault. */
    readonly within: string;
    /** What stands beside it. */
    readonly given?: object;
  }
  /** The answer is the same one with it. */
  | { readonly is: "harmless"; readonly value: unknown }
  /** Left out, it is missed by its name. */
  | { readonly is: "needed" };

/** @param given what stands beside it in both requests */
export const honoured = (value: unknown, given?: object): Row => ({ is: "honoured", value, given });
export const seen = (file: string, test: string): Row => ({ is: "seen", file, test });
export const refused = (value: unknown, ...nothing: readonly unknown[]): Row => (
  { is: "refused", value, nothing, status: 400, within: "" }
);
/** @param within where in the value it is refused, as ".1.type" */
export const refusedWithin = (within: string, value: unknown, ...nothing: readonly unknown[]): Row => (
  { is: "refused", value, nothing, status: 400, within }
);
export const refusedWith = (status: number, value: unknown): Row => (
  { is: "refused", value, nothing: [], status, within: "" }
);
/** @param given without which it would say nothing */
export const refusedBeside = (given: object, value: unknown, ...nothing: readonly unknown[]): Row => (
  { is: "refused", value, nothing, status: 400, within: "", given }
);
export const harmless = (value: unknown): Row => ({ is: "harmless", value });
export const needed: Row = { is: "needed" };

/** The keys of every kind of a union. */
type KeysOf<T> = T extends unknown ? keyof T & string : never;

/** A row for each field that a client's type has: one that a new version brings fails the check of types. */
export type RowsOf<T> = Readonly<Record<KeysOf<T>, Row>>;

/** Fields that stand in one place of a request. */
export interface Table {
  /** For the name of its test. */
  readonly title: string;
  readonly path: string;
  /** A request that is answered, to which the fields are added. */
  readonly base: object;
  readonly rows: Readonly<Record<string, Row>>;
  /** Where the fields stand in the request; by default at its top. */
  readonly put?: (base: object, fields: object) => object;
  /** What stands before a field's name where it is refused. */
  readonly prefix?: string;
  /** Its answers are not streamed. */
  readonly isWhole?: boolean;
}
