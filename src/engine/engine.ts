/**
 * The loop's body, `step`: schedule (`scheduler.ts`), forward (`step.ts`), sample (`replies.ts`), guess ahead
 * (`speculation.ts`), report. Knows no Worker: whoever owns it calls `step` while there is work
 * (`worker.ts`), and is told what came of it through `Report`.
 * @module
 */
import type { Backend, LatentCache } from "../backend/backend.ts";
import { BusyError, DeviceError } from "../errors.ts";
import { Background } from "./background.ts";
import type { BlockFiles } from "./block_files.ts";
import { type BlockDevice, BlockStore } from "./block_store.ts";
import { checkRequest } from "./check_request.ts";
import { Conversations } from "./conversations.ts";
import { Counters } from "./counters.ts";
import type { DraftModel } from "./draft_model.ts";
import { engineStats } from "./engine_stats.ts";
import { finishesOf } from "./finishes.ts";
import type { Grammars } from "./grammars.ts";
import { blocksFor, KvBlocks } from "./kv_blocks.ts";
import { addRows, normalised } from "./pooling.ts";
import { PrefixCache, rootName } from "./prefix_cache.ts";
import type {
  EngineStats,
  Finish,
  FinishReason,
  FoundConversation,
  NumberedToken,
  PromptLogprob,
} from "./protocol.ts";
import { Replies, type Told } from "./replies.ts";
import { sequencesOf } from "./request_sequences.ts";
import { allFinite } from "./sampler.ts";
import { type Limits, type Part, Scheduler } from "./scheduler.ts";
import { idsOf, namesOf, noNames, requestOf, type Sequence, type Task } from "./sequence.ts";
import { SequenceBlocks } from "./sequence_blocks.ts";
import { Shifting } from "./shifting.ts";
import { Speculation, type Stepped } from "./speculation.ts";
import { computeStep, type Outcome, type StepModel } from "./step.ts";

/** Told of everything that happens to requests, each by its id. */
export interface Report {
  /** The tokens of one step; those of one request in order. */
  tokens(events: readonly NumberedToken[]): void;
  /** Rows `firstRow`… of the answer to `logits`, or the row of `embed`. */
  rows(id: number, firstRow: number, values: Float32Array): void;
  /** The next tokens of the prompt, from its second one on. */
  prompt(id: number, logprobs: readonly PromptLogprob[]): void;
  finished(id: number, finish: Finish): void;
  failed(id: number, error: unknown): void;
}

/** A network with the device below it. */
export interface EngineModel extends StepModel {
  readonly backend: StepModel["backend"] & Pick<Backend, "readRoutes" | "memory"> & BlockDevice;
  readonly config: {
    readonly vocabSize: number;
    readonly hidden: number;
    readonly routing: { readonly nExperts: number } | null;
  };
}

/** Bounds of the engine, sized before it serves. */
export interface EngineLimits extends Limits {
  /** Longest sequence; the cache holds at least one of them. */
  readonly contextLength: number;
  /** Keeps the blocks of prompts for later ones that begin alike. */
  readonly prefixCache: boolean;
  /** Where those blocks go on living, or none. */
  readonly files?: BlockFiles | null;
  /** What fixes the bits of the cache: blocks of others in the same folder are of no use. */
  readonly identity?: string;
}

/** Many requests over one model. */
export class Engine {
  readonly #model: EngineModel;
  readonly #cache: LatentCache;
  readonly #limits: EngineLimits;
  readonly #report: Report;
  readonly #now: () => number;
  readonly #blocks: KvBlocks;
  readonly #prefixes: PrefixCache;
  readonly #sequenceBlocks: SequenceBlocks;
  readonly #shifting: Shifting;
  readonly #scheduler: Scheduler;
  readonly #speculation: Speculation;
  readonly #replies: Replies;
  readonly #counters: Counters;
  #grammars: Grammars | null = null;
  readonly #sequences: Map<number, Sequence> = new Map();
  readonly #background: Background;
  readonly #conversations: Conversations;
  #draining = false;

  /** @param now a monotonic clock, in ms */
  constructor(
    model: EngineModel,
    cache: LatentCache,
    limits: EngineLimits,
    report: Report,
    now: () => number = () => performance.now(),
  ) {
    if (blocksFor(limits.contextLength) > cache.nBlocks) {
      throw new RangeError(
        `Cannot serve a context of ${limits.contextLength} tokens: the cache has ${cache.nBlocks} blocks`,
      );
    }
    this.#model = model;
    this.#cache = cache;
    this.#limits = limits;
    this.#report = report;
    this.#now = now;
    this.#blocks = new KvBlocks(cache.nBlocks);
    const store = limits.files ? new BlockStore(model.backend, cache, limits.files) : null;
    this.#prefixes = new PrefixCache(this.#blocks, store);
    this.#sequenceBlocks = new SequenceBlocks(model.backend, cache, this.#blocks, this.#prefixes);
    this.#shifting = new Shifting(model, cache, this.#blocks, this.#prefixes);
    this.#scheduler = new Scheduler(
      limits,
      this.#blocks,
      this.#prefixes,
      (sequence) => this.#sequenceBlocks.release(sequence),
      this.#shifting,
    );
    this.#speculation = new Speculation(model, cache, limits.contextLength);
    this.#replies = new Replies(model.config.vocabSize, limits.contextLength, this.#blocks, {
      prompt: (id, logprobs) => report.prompt(id, logprobs),
      judged: (sequence, drafted, accepted) => this.#speculation.judged(sequence, drafted, accepted),
      now,
    });
    this.#counters = new Counters(now());
    this.#background = new Background({
      contextLength: limits.contextLength,
      prefixes: this.#prefixes,
      scheduler: this.#scheduler,
      end: (sequence) => this.#end(sequence),
      now,
    });
    this.#conversations = new Conversations(model, cache, this.#blocks, this.#prefixes, limits);
  }

  /** Before the first request with a grammar. */
  useGrammars(grammars: Grammars): void {
    this.#grammars = grammars;
  }

  /** Before the first request that asks for its guesses. */
  useDraftModel(draftModel: DraftModel): void {
    this.#speculation.useDraftModel(draftModel);
  }

  get hasWork(): boolean {
    return this.#sequences.size > 0;
  }

  /** Whether `idleStep` has something to do, which nobody waits for. */
  get hasIdleWork(): boolean {
    return !this.#scheduler.isEmpty || !this.#background.isEmpty || this.#prefixes.hasUnstored;
  }

  /**
   * Accepts a request. Each of its sequences ends in exactly one `finished` or `failed`.
   * @param id of its first sequence; those of the others follow
   * @param tenant whoever shares cached prompts with others of the same name
   * @throws {RequestError} it can never be served
   * @throws {BusyError} the queue is full, or the engine is closing
   */
  submit(id: number, tokens: Int32Array, task: Task, tenant = ""): void {
    try {
      if (this.#draining) throw new BusyError("Cannot accept the request: the model is closing");
      checkRequest(tokens, task, this.#limits.contextLength, this.#model.config.vocabSize);
      const draftKind = task.kind === "generate" ? task.sampling.speculative?.kind : undefined;
      if (draftKind !== undefined) this.#speculation.check(draftKind);
      const withMtp = draftKind === "mtp";
      const names = this.#limits.prefixCache
        ? namesOf(tokens, rootName(tenant, withMtp, this.#limits.identity), withMtp)
        : noNames;
      const sequences = sequencesOf(id, tokens, task, this.#now(), names, {
        ...this.#limits,
        nBlocks: this.#blocks.total,
        grammars: this.#grammars,
      });
      this.#scheduler.submit(...sequences);
      this.#background.settleBefore(sequences[0]);
      for (const sequence of sequences) {
        for (const each of idsOf(sequence)) this.#sequences.set(each, sequence);
      }
    } catch (error) {
      this.#counters.refused++;
      throw error;
    }
  }

  /**
   * Ends a sequence, with a beam search all of it; its blocks are free when this returns. One that is not
   * here has ended already.
   */
  cancel(id: number): void {
    const sequence = this.#sequences.get(id);
    if (sequence !== undefined) this.#finish(sequence, "cancelled");
  }

  cancelAll(): void {
    for (const id of [...this.#sequences.keys()]) this.cancel(id);
  }

  /** From now on requests are refused; those accepted go on. */
  drain(): void {
    this.#draining = true;
    this.#background.stop();
  }

  /** Computes one step. */
  step(): void {
    const parts = this.#scheduler.plan();
    if (parts.length === 0) return;
    const nowMs = this.#now();
    let nPrompt = 0, nAsked = 0;
    for (const { sequence, count } of parts) {
      requestOf(sequence).startedMs ??= nowMs;
      if (sequence.isOwn) continue;
      nAsked++;
      if (!sequence.isDecoding) nPrompt += count;
    }
    const nGenerated = this.#attempt(parts);
    this.#shifting.shiftFull(this.#scheduler, this.#limits.contextLength);
    if (nAsked > 0) this.#counters.onStep(nPrompt, nGenerated, nAsked, this.#now());
  }

  /** Where there are no requests: goes on with what makes later ones shorter, for a block of tokens at most. */
  idleStep(): void {
    if (this.#scheduler.isEmpty) this.#background.begin();
    if (!this.#scheduler.isEmpty) this.step();
    else if (this.#prefixes.hasUnstored) this.#prefixes.storeNext();
  }

  /** @returns what the file holds now: fewer latents than tokens where the cache had to make room */
  saveConversation(...what: Parameters<Conversations["save"]>): FoundConversation {
    return this.#conversations.save(...what);
  }

  /** Brings back what was saved, as far as there is room. */
  restoreConversation(...what: Parameters<Conversations["restore"]>): FoundConversation {
    this.#background.pause();
    return this.#conversations.restore(...what);
  }

  /** Puts all that is kept into files, where there is a folder for them. */
  storeAll(): void {
    while (this.#prefixes.hasUnstored) this.#prefixes.storeNext();
  }

  stats(): EngineStats {
    return engineStats({
      counters: this.#counters,
      scheduler: this.#scheduler,
      blocks: this.#blocks,
      prefixes: this.#prefixes,
      files: this.#limits.files ?? null,
      shifting: this.#shifting,
      speculation: this.#speculation,
      memory: this.#model.backend.memory(),
      hasWork: this.hasWork,
    }, this.#now());
  }

  /**
   * Computes parts together, or, when that throws, each alone: one request must not fail the others.
   * @returns how many tokens were generated
   */
  #attempt(parts: readonly Part[]): number {
    const { backend, config } = this.#model;
    const nExperts = config.routing?.nExperts ?? 0;
    const observer = this.#counters.routesObserver(nExperts, (routes) => backend.readRoutes(routes));
    let outcomes: Outcome[];
    try {
      outcomes = computeStep(this.#model, this.#cache, parts, observer);
    } catch (error) {
      if (parts.length === 1) {
        this.#couldNot(parts[0], error);
        return 0;
      }
      // One that failed meanwhile has given back the blocks of its other hypotheses, too.
      const isHere = ({ sequence }: Part) => sequence.blocks.length > 0;
      return parts.reduce((sum, part) => isHere(part) ? sum + this.#attempt([part]) : sum, 0);
    }
    return this.#tell(outcomes);
  }

  /** A guess may be what the network fails of, and the sequence need never come to it. */
  #couldNot({ sequence, drafts }: Part, error: unknown): void {
    if (drafts.length > 0) this.#beginAgain(sequence);
    else this.#fail(requestOf(sequence), error);
  }

  /**
   * Draws what follows, tells it, guesses ahead, and ends what is over or has failed.
   * @returns how many tokens were generated
   */
  #tell(outcomes: readonly Outcome[]): number {
    const told: Told = { events: [], ended: [], nGenerated: 0 };
    const failed = new Map<Sequence, unknown>();
    for (const outcome of outcomes) {
      const request = requestOf(outcome.part.sequence);
      if (failed.has(request)) continue; // with another of its hypotheses
      try {
        this.#accept(outcome, told);
      } catch (error) {
        failed.set(request, error); // maybe not at its first token
      }
    }
    if (told.events.length > 0) this.#report.tokens(told.events);
    const over = new Set(told.ended.map(([sequence]) => sequence));
    const stepped: Stepped[] = [];
    for (const { part: { sequence }, states } of outcomes) {
      if (failed.has(requestOf(sequence))) continue;
      stepped.push({ sequence, states, isOver: over.has(sequence) });
    }
    for (const [sequence, error] of this.#speculation.propose(stepped)) {
      failed.set(requestOf(sequence), error);
    }
    for (const [sequence, error] of failed) {
      this.#fail(sequence, error);
      over.delete(sequence);
    }
    for (const [sequence, reason] of told.ended) if (over.has(sequence)) this.#finish(sequence, reason);
    return told.nGenerated;
  }

  /** What a sequence's rows mean for it. */
  #accept(outcome: Outcome, told: Told): void {
    const { part: { sequence, count, drafts }, nRows, values, best } = outcome;
    const isFinite = nRows === 0 || (best !== null ? !best.includes(-1) : allFinite(values!));
    if (!isFinite && drafts.length > 0) { // a guess may be to blame, and rows before it meet its latents too
      this.#beginAgain(sequence);
      return;
    }
    sequence.computed += count - drafts.length;
    if (nRows === 0) return;
    if (!isFinite) {
      throw new DeviceError(
        `Cannot go on after ${sequence.computed} tokens: the network's output holds NaN or infinity`,
      );
    }
    sequence.proven = sequence.computed;
    this.#sequenceBlocks.keepPrompt(sequence);
    const isWhole = sequence.remaining === 0;
    switch (sequence.task.kind) {
      case "generate":
        return this.#replies.accept(outcome, sequence.task.sampling, told);
      case "logits":
        this.#report.rows(sequence.id, sequence.reported, values!);
        sequence.reported = sequence.computed;
        break;
      case "embed":
        addRows(sequence.sum, values!, nRows);
        sequence.reported = sequence.computed;
        if (isWhole) this.#report.rows(sequence.id, 0, normalised(sequence.sum));
        break;
      case "keep":
        this.#counters.settledTokens += count;
    }
    if (isWhole) told.ended.push([sequence, "stop"]);
  }

  /** Clears what a sequence has in the cache, to compute it anew and guess no more. */
  #beginAgain(sequence: Sequence): void {
    sequence.proven = -1;
    sequence.drafts = [];
    sequence.draftLength = null;
    this.#scheduler.preempt(sequence);
  }

  #finish(sequence: Sequence, reason: FinishReason): void {
    this.#background.remember(sequence);
    this.#end(sequence);
    if (sequence.isOwn) return;
    if (reason === "cancelled") this.#counters.cancelled++;
    else this.#counters.finished++;
    for (const [id, finish] of finishesOf(sequence, reason, this.#now())) this.#report.finished(id, finish);
  }

  #fail(sequence: Sequence, error: unknown): void {
    // Even a step that threw may have written into the cache.
    for (const strand of [sequence, ...sequence.branches]) strand.proven = -1;
    this.#end(sequence);
    if (sequence.isOwn) return; // nobody waits for it
    this.#counters.failed++;
    for (const id of idsOf(sequence)) this.#report.failed(id, error);
  }

  #end(sequence: Sequence): void {
    for (const id of idsOf(sequence)) this.#sequences.delete(id);
    this.#background.forget(sequence);
    this.#speculation.forget(sequence);
    this.#sequenceBlocks.keepTail(sequence);
    this.#scheduler.remove(sequence);
  }
}
