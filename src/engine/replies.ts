/**
 * From rows of logits to the tokens of replies: drawn, checked against guesses, or found by beam search.
 * @module
 */
import { RequestError } from "../errors.ts";
import { nContinuations } from "./beam_search.ts";
import { ContinuationFinder } from "./continuations.ts";
import type { KvBlocks } from "./kv_blocks.ts";
import { logprobsOf, promptLogprobOf } from "./logprobs.ts";
import type { FinishReason, NumberedToken, PromptLogprob, Sampling } from "./protocol.ts";
import { Sampler } from "./sampler.ts";
import { requestOf, type Sequence, type Task } from "./sequence.ts";
import type { Outcome } from "./step.ts";

/** What came of a step. */
export interface Told {
  readonly events: NumberedToken[];
  readonly ended: [Sequence, FinishReason][];
  /** Tokens generated, those of hypotheses included. */
  nGenerated: number;
}

/** Who learns of what is no token of a reply. */
export interface ReplyListener {
  /** The next tokens of a prompt, from its second one on. */
  prompt(id: number, logprobs: readonly PromptLogprob[]): void;
  /** What came of a sequence's guesses. */
  judged(sequence: Sequence, drafted: number, accepted: number): void;
  /** A monotonic clock, in ms. */
  now(): number;
}

/** Writes the replies of all sequences of an engine. */
export class Replies {
  readonly #vocabSize: number;
  readonly #contextLength: number;
  readonly #blocks: KvBlocks;
  readonly #listener: ReplyListener;
  readonly #sampler: Sampler;
  readonly #continuations: ContinuationFinder;

  constructor(vocabSize: number, contextLength: number, blocks: KvBlocks, listener: ReplyListener) {
    this.#vocabSize = vocabSize;
    this.#contextLength = contextLength;
    this.#blocks = blocks;
    this.#listener = listener;
    this.#sampler = new Sampler(vocabSize);
    this.#continuations = new ContinuationFinder(vocabSize);
  }

  /** The rows of a prompt, and of what comes after it. */
  accept(outcome: Outcome, sampling: Sampling, told: Told): void {
    const { part: { sequence }, nRows, values, best } = outcome;
    const vocabSize = this.#vocabSize;
    if (sequence.wantsPrompt) {
      this.#tellPrompt(sequence, sampling, values!, vocabSize);
      if (sequence.remaining > 0) return;
    }
    const isFirst = sequence.nGenerated === 0;
    const last = values && values.subarray(values.length - vocabSize);
    if (requestOf(sequence).search !== null) this.#search(sequence, sampling, last!, told);
    else if (sequence.family?.unborn.has(sequence)) this.#bear(sequence, best![nRows - 1], last, told);
    else if (isFirst) this.#draw(sequence, best![nRows - 1], last, told);
    else this.#generate(outcome, told);
  }

  /**
   * Draws a token from each row for as long as the guess that the next row stands on was right. Each token
   * is drawn as it would be without guesses, so the reply is the same, bit for bit.
   */
  #generate({ part: { sequence, drafts }, values, best }: Outcome, told: Told): void {
    const vocabSize = this.#vocabSize;
    for (let accepted = 0;; accepted++) {
      if (accepted > 0) sequence.proven = ++sequence.computed;
      const logits = values && values.subarray(accepted * vocabSize, (accepted + 1) * vocabSize);
      const isOver = this.#draw(sequence, best![accepted], logits, told);
      const isMore = !isOver && accepted < drafts.length;
      if (isMore && sequence.tokens(sequence.length - 1, 1)[0] === drafts[accepted]) continue;
      this.#listener.judged(sequence, drafts.length, accepted);
      return;
    }
  }

  /** Row i is what the model expected after token i; after the prompt's last token comes the reply. */
  #tellPrompt(sequence: Sequence, sampling: Sampling, rows: Float32Array, width: number): void {
    const { reported, computed, nPrompt } = sequence;
    const nTop = sampling.promptLogprobs!;
    const tokens = sequence.tokens(reported + 1, Math.min(computed, nPrompt - 1) - reported);
    const told = Array.from(
      tokens,
      (token, i) => promptLogprobOf(rows.subarray(i * width, (i + 1) * width), token, nTop),
    );
    sequence.reported = computed;
    if (told.length > 0) this.#listener.prompt(sequence.id, told);
  }

  /** The first token of all choices: all follow the same row. The others will go on from the prompt's blocks. */
  #bear(first: Sequence, best: number, logits: Float32Array | null, told: Told): void {
    const family = first.family!;
    for (const sequence of family.unborn) {
      sequence.startedMs ??= first.startedMs;
      sequence.cachedTokens ??= first.cachedTokens;
      sequence.reported = first.reported;
      const isOver = this.#draw(sequence, best, logits, told);
      if (sequence !== first && !isOver) family.heirs.add(sequence);
    }
    family.unborn.clear();
    if (family.heirs.size === 0) return;
    this.#blocks.share(first.blocks);
    family.blocks = [...first.blocks];
  }

  /** Draws a token. @returns whether the sequence has ended */
  #draw(sequence: Sequence, best: number, logits: Float32Array | null, told: Told): boolean {
    const { sampling } = sequence.task as Task & { kind: "generate" };
    const end = (reason: FinishReason) => told.ended.push([sequence, reason]) > 0;
    if (sampling.maxTokens === 0) return end("length");
    const { counts, nGenerated, random, grammar } = sequence;
    const token = logits === null
      ? best
      : this.#sampler.sample(logits, sampling, counts, nGenerated, random, best, grammar);
    sequence.firstTokenMs ??= this.#listener.now();
    const event = sampling.topLogprobs === null
      ? { token, logprob: NaN, top: [] }
      : logprobsOf(logits!, token, sampling.topLogprobs);
    sequence.drawn.logprob += event.logprob;
    sequence.drawn.count++;
    if (sequence.stopsAt(token)) {
      sequence.stopToken = token;
      return end("stop");
    }
    sequence.append(token);
    told.nGenerated++;
    told.events.push({ id: sequence.id, event });
    if (sequence.grammar?.isFinished) return end("stop");
    const isFull = sequence.nGenerated >= sampling.maxTokens ||
      (sequence.keepTokens === null && sequence.length >= this.#contextLength);
    return isFull && end("length");
  }

  /** What a row means for a beam search: it goes on once it has that of each hypothesis. */
  #search(strand: Sequence, sampling: Sampling, logits: Float32Array, told: Told): void {
    const head = requestOf(strand), search = head.search!;
    const count = nContinuations(sampling.beam!, head.stopIds.size);
    strand.continuations = this.#continuations.find(logits, strand, sampling, count);
    if (strand === head && search.length > 0) return this.#forkAgain(head);
    const parents = head.strands;
    if (parents.some(({ remaining, continuations }) => remaining > 0 || continuations === null)) return;
    head.firstTokenMs ??= this.#listener.now();
    told.nGenerated += parents.length;
    const grown = search.advance(parents.map(({ continuations }) => continuations!));
    if (grown.length === 0) return this.#tellReplies(head, sampling, told);
    const branches = grown.map(({ parent, token }) => {
      const branch = parents[parent].fork();
      this.#blocks.share(branch.blocks);
      branch.append(token);
      return branch;
    });
    for (const [i, parent] of parents.entries()) {
      this.#blocks.release(parent.blocks);
      parent.blocks = [];
      if (i < branches.length) branches[i].room = parent.room; // half a megabyte each for a large vocabulary
    }
    head.branches = branches;
    head.isForked = true;
  }

  /** After a preemption: the prompt is there again, from which the hypotheses are computed again. */
  #forkAgain(head: Sequence): void {
    for (const branch of head.branches) {
      this.#blocks.share(head.blocks);
      branch.blocks = [...head.blocks];
      branch.computed = branch.proven = head.nPrompt;
    }
    this.#blocks.release(head.blocks);
    head.blocks = [];
    head.isForked = true;
  }

  #tellReplies(head: Sequence, { n }: Sampling, told: Told): void {
    head.replies = head.search!.results(n);
    if (head.replies.length < n) {
      const problem = `only ${head.replies.length} sequences are possible`;
      throw new RequestError(`Cannot return ${n} choices: ${problem}`, { param: "n" });
    }
    for (const [choice, { events }] of head.replies.entries()) {
      told.events.push(...events.map((event) => ({ id: head.id + choice, event })));
    }
    told.ended.push([head, "stop"]);
  }
}
