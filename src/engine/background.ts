/**
 * What the engine computes that nobody waits for: replies that have ended become the prompts that they will
 * be when their conversation goes on. It gives way to any request, but for the one that would have to compute
 * the same.
 * @module
 */
import { blockTokens } from "../backend/backend.ts";
import type { PrefixCache } from "./prefix_cache.ts";
import type { Scheduler } from "./scheduler.ts";
import { namesOf, ownId, Sequence } from "./sequence.ts";
import { type Reply, Settling } from "./settling.ts";

/** What the background needs of the engine. */
export interface BackgroundHost {
  readonly contextLength: number;
  readonly prefixes: PrefixCache;
  readonly scheduler: Scheduler;
  /** Takes a sequence out of the engine; what is known of it stays in the cache. */
  readonly end: (sequence: Sequence) => void;
  /** A monotonic clock, in ms. */
  readonly now: () => number;
}

/** Settles replies while there are no requests, and before those that go on from them. */
export class Background {
  readonly #host: BackgroundHost;
  readonly #settling = new Settling();
  /** The reply that is settled while there are no requests. */
  #idle: Sequence | null = null;
  #isStopped = false;

  constructor(host: BackgroundHost) {
    this.#host = host;
  }

  /** Whether no reply waits; one may be under way. */
  get isEmpty(): boolean {
    return this.#settling.isEmpty;
  }

  /** Once a reply has ended, it waits to be settled; one whose thought is left out later is of no use to anybody. */
  remember(sequence: Sequence): void {
    const { root, withMtp, length, nGenerated, nPrompt, stopToken, task } = sequence;
    if (root === null || nGenerated === 0 || this.#isStopped) return;
    if (task.kind === "generate" && !task.sampling.isRepeated) return;
    const ids = [...sequence.tokens(0, length), ...(stopToken === null ? [] : [stopToken])];
    const tokens = Int32Array.from(ids.slice(0, this.#host.contextLength));
    this.#settling.add({ root, withMtp, tokens, nPrompt });
  }

  /** What a request goes on from is settled first: it would have to compute the same. */
  settleBefore(request: Sequence): void {
    this.pause();
    const { prefixes, scheduler } = this.#host;
    const nKnown = prefixes.count(request, request.nTakeable);
    const reply = this.#settling.takeBefore(request, nKnown, request.nTakeable);
    if (reply === null) return;
    request.after = this.#keeper(reply);
    scheduler.submitBefore(request.after, request);
  }

  /** Submits the next reply, where there are no requests. */
  begin(): void {
    const { prefixes, scheduler } = this.#host;
    for (let reply = this.#settling.next(); reply !== undefined; reply = this.#settling.next()) {
      // A prompt that had to make room would have to be computed anew, maybe for nobody.
      const sequence = this.#keeper(reply);
      if (prefixes.count(sequence, reply.nPrompt) < reply.nPrompt - blockTokens) continue;
      sequence.stepTokens = blockTokens;
      scheduler.submit(sequence);
      this.#idle = sequence;
      return;
    }
  }

  /** Makes room for requests; what was done stays. */
  pause(): void {
    const sequence = this.#idle;
    if (sequence === null) return;
    const reply = {
      root: sequence.root!,
      withMtp: sequence.withMtp,
      tokens: sequence.tokens(0, sequence.length),
      nPrompt: sequence.proven,
    };
    this.#host.end(sequence);
    this.#settling.add(reply);
  }

  /** A sequence has left the engine. */
  forget(sequence: Sequence): void {
    if (sequence === this.#idle) this.#idle = null;
  }

  /** From now on nothing is settled. */
  stop(): void {
    this.#isStopped = true;
    this.pause();
    this.#settling.clear();
  }

  #keeper({ tokens, root, withMtp }: Reply): Sequence {
    return new Sequence(ownId, tokens, { kind: "keep" }, this.#host.now(), namesOf(tokens, root, withMtp));
  }
}
