/**
 * Sequences that continue one prompt, each in its own way: the prompt is computed by the first of them, and
 * the others begin with its cache blocks. Each copies the last block, which is not full, before it writes.
 * @module
 */

/** The choices of one request. */
export class Family<Sequence> {
  /** Those without a token, in order. */
  readonly unborn: Set<Sequence> = new Set();
  /** Those that have their first token and wait for their turn: the prompt's blocks are held for them. */
  readonly heirs: Set<Sequence> = new Set();
  /** The prompt's blocks, with a reference of the family's own, while there are heirs and memory. */
  blocks: readonly number[] | null = null;
}
