/**
 * One request inside the engine: its tokens, how far the cache has them, and what is asked of them.
 * @module
 */
import { DraftLength } from "./draft_length.ts";
import type { ReplyGuide } from "./grammars.ts";
import { countsOf, needsAdjusting, type TokenCounts } from "./penalties.ts";
import type { DraftKind, Sampling } from "./protocol.ts";
import { type Beginning, type BlockNames, blockNames } from "./prefix_cache.ts";
import type { BeamResult, BeamSearch, Continuations } from "./beam_search.ts";
import type { Family } from "./family.ts";
import { Random } from "./random.ts";

/** What a request wants of its tokens. */
export type Task =
  | { readonly kind: "generate"; readonly sampling: Sampling }
  /** The logits of every token. */
  | { readonly kind: "logits" }
  /** The mean of the last hidden states, normalised. */
  | { readonly kind: "embed" }
  /** Nothing but to be found in the prefix cache. */
  | { readonly kind: "keep" };

/** How a prompt is found in the prefix cache. */
export interface Names extends Pick<Beginning, "root" | "names"> {
  /** Its blocks hold latents of the layer for multi-token prediction too. */
  readonly withMtp: boolean;
}

/** In place of a request's id: nobody asked for it. */
export const ownId = -1;

/** Of a prompt that may not be found there. */
export const noNames: Names = { root: null, names: [], withMtp: false };

/** @param root of those who share the cache */
export function namesOf(tokens: Int32Array, root: string, withMtp: boolean): Names {
  return { root, names: blockNames(tokens, root), withMtp };
}

/** A prompt and what was generated after it. */
export class Sequence implements Beginning {
  readonly id: number;
  readonly task: Task;
  readonly nPrompt: number;
  /** Prompt and reply together. */
  length: number;
  /** Tokens whose latents the cache holds. */
  computed = 0;
  /** Tokens whose latents are known to be finite, because a row that read them was. */
  proven = 0;
  /** Rows of logits or hidden states that were given out. */
  reported = 0;
  blocks: number[] = [];
  /** Its blocks may hold values that are not finite, whatever the rows said that were looked at. */
  isTainted = false;
  /** Of the prompt's whole blocks, for the prefix cache. */
  names: BlockNames;
  root: string | null;
  readonly withMtp: boolean;
  /** Tokens that went where the context was full; then its latents cannot be computed anew. */
  nDropped = 0;
  /** Its blocks while it has none in the cache, where they cannot be computed anew. */
  copies: readonly Uint8Array[] | null = null;
  /** Positions before this one were computed as the prompt's. */
  #promptEnd: number;
  /** Whose end this one waits for, since it computes what this one would have to. */
  after: Sequence | null = null;
  /** Times that blocks were brought back for it; infinite when all were. */
  nRestores = 0;
  /** Most tokens of the prompt in one step. */
  stepTokens = Infinity;
  /** The token that ended the reply, which is no part of it. */
  stopToken: number | null = null;
  /** Prompt tokens that the prefix cache had when the sequence was first admitted. */
  cachedTokens: number | null = null;
  readonly random: Random;
  readonly counts: TokenCounts | null;
  /** Guesses of the tokens after the last one, computed along with it; of what comes of them nothing is kept. */
  drafts: readonly number[] = [];
  /** Null where nothing is guessed, or not any more. */
  draftLength: DraftLength | null;
  /** Guesses that were computed, and those among them that became tokens. */
  drafted = 0;
  accepted = 0;
  /** Where the reply stands in its grammar; null where it may be anything. */
  readonly grammar: ReplyGuide | null;
  /** The other sequences of its request, where there are any. */
  family: Family<Sequence> | null = null;
  /** Of a request that searches with beams: the search, and the hypotheses that it has alive. */
  search: BeamSearch | null = null;
  branches: Sequence[] = [];
  /** What the search has found. */
  replies: readonly BeamResult[] | null = null;
  /** The prompt is computed, and `branches` have its blocks. */
  isForked = false;
  /** Of a hypothesis: the sequence that the scheduler knows, and what may follow the last token. */
  readonly head: Sequence | null;
  continuations: Continuations | null = null;
  /** Σ ln p of the tokens drawn, and how many, the one that ends the reply included. */
  readonly drawn: { logprob: number; count: number } = { logprob: 0, count: 0 };
  /** (hidden), for `embed`: the sum so far. */
  readonly sum: number[] = [];
  readonly arrivedMs: number;
  startedMs: number | null = null;
  firstTokenMs: number | null = null;
  /** (vocab): where the logits of the next token are read to. */
  room: Float32Array | undefined;
  #tokens: Int32Array;
  readonly #stopIds: ReadonlySet<number>;

  constructor(
    id: number,
    prompt: Int32Array,
    task: Task,
    nowMs: number,
    { root, names, withMtp }: Names = noNames,
    grammar: ReplyGuide | null = null,
    parent: Sequence | null = null,
  ) {
    this.id = id;
    this.task = task;
    this.nPrompt = this.#promptEnd = prompt.length;
    this.length = prompt.length;
    this.names = names;
    this.grammar = grammar;
    this.root = root;
    this.withMtp = withMtp;
    this.#tokens = prompt;
    this.arrivedMs = nowMs;
    const sampling = task.kind === "generate" ? task.sampling : null;
    this.random = Random.fromSeed(sampling?.seed ?? 0);
    this.counts = parent?.counts?.copy() ?? (sampling && countsOf(prompt, sampling));
    this.#stopIds = parent === null ? new Set(sampling?.stopIds) : parent.#stopIds;
    this.draftLength = sampling?.speculative ? new DraftLength(sampling.speculative.tokens) : null;
    this.head = parent && (parent.head ?? parent);
  }

  /**
   * A hypothesis that begins as this one does: the caller adds references to `blocks`, which both have now.
   * The last of them must be copied before either writes into it.
   */
  fork(): Sequence {
    const { id, task, arrivedMs } = this;
    const grammar = this.grammar && this.grammar.copy();
    const prompt = this.#tokens.subarray(0, this.nPrompt);
    const branch = new Sequence(id, prompt, task, arrivedMs, noNames, grammar, this);
    branch.#tokens = this.#tokens.slice(0, this.length + 1);
    branch.length = this.length;
    branch.computed = this.computed;
    branch.proven = this.proven;
    branch.reported = this.reported;
    branch.blocks = [...this.blocks];
    return branch;
  }

  /** What is computed of it: itself, or the hypotheses that have grown from its prompt. */
  get strands(): readonly Sequence[] {
    return this.isForked ? this.branches : [this];
  }

  /** Tokens that end the reply. */
  get stopIds(): ReadonlySet<number> {
    return this.#stopIds;
  }

  /** The log-probabilities of its prompt are wanted, and not all told. */
  get wantsPrompt(): boolean {
    if (this.task.kind !== "generate" || this.task.sampling.promptLogprobs === null) return false;
    return this.reported < this.nPrompt && (this.family === null || this.family.unborn.has(this));
  }

  /** Prompt tokens that may be taken from the cache: the last one is always computed. */
  get nTakeable(): number {
    if (this.wantsPrompt) return 0;
    // Of the other kinds rows of all tokens are wanted.
    return this.task.kind === "generate" || this.task.kind === "keep" ? this.nPrompt - 1 : 0;
  }

  /** Nobody asked for it: it is computed for requests to come. */
  get isOwn(): boolean {
    return this.id === ownId;
  }

  get nGenerated(): number {
    return this.length + this.nDropped - this.nPrompt;
  }

  /** Of the next `count` tokens, those of the prompt. */
  nOfPrompt(count: number): number {
    return Math.min(count, Math.max(0, this.#promptEnd - this.computed));
  }

  /** First tokens that stay where the context is full; null where the reply ends there. */
  get keepTokens(): number | null {
    return this.task.kind === "generate" ? this.task.sampling.contextShift?.keepTokens ?? null : null;
  }

  /** Tokens still to compute before the next one can be drawn. */
  get remaining(): number {
    return this.length - this.computed;
  }

  /** Only the token drawn last is missing in the cache. */
  get isDecoding(): boolean {
    return this.remaining === 1 && this.nGenerated > 0;
  }

  /** The likeliest token is all that is wanted: the logits can stay on the device. */
  get isPlainGreedy(): boolean {
    if (this.task.kind !== "generate") return false;
    const { sampling } = this.task;
    return sampling.temperature === 0 && sampling.beam === null && sampling.topLogprobs === null &&
      this.grammar === null && !this.wantsPrompt && !needsAdjusting(sampling, this.nGenerated);
  }

  /** The layer for multi-token prediction has to see all its tokens: it guesses for it, or for those to come. */
  get looksFurther(): boolean {
    if (this.task.kind === "keep") return this.withMtp;
    return this.draftLength !== null && this.draftKind === "mtp";
  }

  /** What guesses for it; null for nothing. */
  get draftKind(): DraftKind | null {
    return this.task.kind === "generate" ? this.task.sampling.speculative?.kind ?? null : null;
  }

  /** Room for the logits of the next tokens, the same each time: half a megabyte a token would keep no cache warm. */
  logitsRoom(nValues: number): Float32Array {
    if (this.room === undefined || this.room.length < nValues) this.room = new Float32Array(nValues);
    return this.room.subarray(0, nValues);
  }

  stopsAt(token: number): boolean {
    return this.#stopIds.has(token);
  }

  /** Adds a token of the reply. */
  append(token: number): void {
    if (this.length === this.#tokens.length) {
      const grown = new Int32Array(Math.max(64, 2 * this.length));
      grown.set(this.#tokens);
      this.#tokens = grown;
    }
    this.#tokens[this.length++] = token;
    this.counts?.add(token);
    this.grammar?.advance(token);
  }

  /** Takes `count` tokens out after the first `keep`; what is left was moved in the cache. */
  drop(keep: number, count: number): void {
    this.#tokens.copyWithin(keep, keep + count, this.length);
    this.length -= count;
    this.computed -= count;
    this.proven = this.computed;
    this.nDropped += count;
    this.#promptEnd = Math.min(this.#promptEnd, this.computed);
    this.names = [];
    this.root = null;
    this.drafts = [];
    this.draftLength = null;
  }

  /** @returns a view of tokens `first` to `first + count` */
  tokens(first: number, count: number): Int32Array {
    return this.#tokens.subarray(first, first + count);
  }
}

/** The sequence that a hypothesis belongs to, or itself. */
export function requestOf(sequence: Sequence): Sequence {
  return sequence.head ?? sequence;
}

/** What a sequence is called: a beam search answers for all its replies. */
export function idsOf({ id, search, task }: Sequence): number[] {
  const n = search !== null && task.kind === "generate" ? task.sampling.n : 1;
  return Array.from({ length: n }, (_, choice) => id + choice);
}
