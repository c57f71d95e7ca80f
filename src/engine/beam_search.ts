/**
 * Beam search: the `width` likeliest beginnings are continued together, until no beginning can beat
 * the replies that have ended. What is decided here and in which order is what transformers decides
 * (its generate with num_beams), so that both give the same replies with the same scores:
 *
 * - A hypothesis weighs the sum of the log-probabilities of its tokens, after penalties, bias and bans
 *   have changed these; nothing is normalised again.
 * - All continuations of all hypotheses are ranked by that sum. A token that ends the reply ends its
 *   hypothesis where it ranks among the first `width`, and is nothing otherwise. The first `width` that do
 *   not end live on. After `maxTokens` tokens all that would live on have ended.
 * - An ended reply scores sum / length ** lengthPenalty, where length counts its tokens and the one that
 *   ended it. The `width` best are kept.
 * - Once `width` have ended, `earlyStopping` true ends the search; otherwise it ends when the best sum alive
 *   / length ** lengthPenalty is no higher than the worst score kept, length being the present one, or with
 *   "never" and a positive penalty, `maxTokens`: as high as it could ever get.
 *
 * With groups (diverse beam search, arXiv:1610.02424, with the Hamming diversity) each group is such a search
 * of width / groups, and lowers a token's log-probability by `diversityPenalty` for each hypothesis of an
 * earlier group that went on with it in this step, before any other penalty; that counts in sums and scores.
 * A group compares its ended replies with the best sum of the step, whether or not its token ended the reply.
 * The best of all groups are returned.
 * @module
 */
import type { Beam, FinishReason, TokenEvent } from "./protocol.ts";

/** The likeliest continuations of a hypothesis, the best first. */
export interface Continuations {
  readonly ids: readonly number[];
  /** ln p, after penalties; none is -∞. */
  readonly scores: readonly number[];
  /** What multiplies a penalty on a token's ln p: the penalties behind the scores come after it. */
  penaltyFactor(id: number): number;
  /** The grammar ends the reply with this token. */
  isFinal(id: number): boolean;
  /** What is told of a token that is taken. */
  event(id: number): TokenEvent;
}

/** A hypothesis that lives on: hypothesis `parent` of those before, and a token. */
export interface Growth {
  readonly parent: number;
  readonly token: number;
}

/** A reply. */
export interface BeamResult {
  /** Without the token that ended it. */
  readonly events: readonly TokenEvent[];
  readonly score: number;
  readonly reason: FinishReason;
}

/** The last token of a hypothesis and, through it, all before: hypotheses share their beginnings. */
interface Link {
  readonly event: TokenEvent;
  readonly before: Link | null;
}

interface Hypothesis {
  readonly sum: number;
  readonly last: Link | null;
}

interface Ended {
  readonly last: Link | null;
  readonly score: number;
  readonly reason: FinishReason;
}

/** A continuation of hypothesis `parent` of the group. */
interface Candidate {
  readonly parent: number;
  readonly token: number;
  readonly sum: number;
}

/** A search of its own among others. */
interface Group {
  live: Hypothesis[];
  /** The best first. */
  ended: Ended[];
}

/**
 * @returns continuations of each hypothesis that decide a step whatever the others are: those that live on
 *   and those that other groups make less likely, `width` together, and the stop tokens; as many again, since
 *   a grammar may end the reply with any token
 */
export function nContinuations({ width }: Beam, nStopIds: number): number {
  return 2 * width + nStopIds;
}

/** One search, from its prompt to its replies. */
export class BeamSearch {
  /** Tokens of each hypothesis alive. */
  length = 0;
  readonly #beam: Beam;
  readonly #maxTokens: number;
  readonly #stopIds: ReadonlySet<number>;
  readonly #groups: Group[];

  /**
   * @param maxTokens the most that fit; "never" looks as far ahead
   * @param stopIds tokens that end a reply
   */
  constructor(beam: Beam, maxTokens: number, stopIds: ReadonlySet<number>) {
    this.#beam = beam;
    this.#maxTokens = maxTokens;
    this.#stopIds = stopIds;
    this.#groups = Array.from({ length: beam.groups }, () => ({ live: [{ sum: 0, last: null }], ended: [] }));
  }

  /** Hypotheses alive; before the first token all groups have the one empty hypothesis. */
  get nLive(): number {
    return this.length === 0 ? 1 : this.#groups.reduce((sum, { live }) => sum + live.length, 0);
  }

  /**
   * Adds a token to each hypothesis.
   * @param rows what may follow each hypothesis alive, in order
   * @returns the hypotheses alive now, in order; none when the search has ended
   */
  advance(rows: readonly Continuations[]): Growth[] {
    const isFirst = this.length++ === 0;
    const chosen = new Map<number, number>(); // by how many hypotheses of earlier groups each token was
    const grown: Growth[] = [];
    let first = 0;
    for (const group of this.#groups) {
      const before = group.live;
      const rowsOfGroup = isFirst ? rows : rows.slice(first, first + before.length);
      const survivors = before.length === 0 ? [] : this.#step(group, rowsOfGroup, chosen);
      grown.push(...survivors.map(({ parent, token }) => ({ parent: isFirst ? 0 : first + parent, token })));
      first += before.length;
    }
    return grown;
  }

  /** @returns the best `n` replies, the best first */
  results(n: number): BeamResult[] {
    const ended = this.#groups.flatMap((group) => group.ended).sort((a, b) => b.score - a.score);
    return ended.slice(0, n).map(({ last, score, reason }) => ({ events: eventsTo(last), score, reason }));
  }

  /** @returns what lives on of a group */
  #step(group: Group, rows: readonly Continuations[], chosen: Map<number, number>): Candidate[] {
    const { width, groups, lengthPenalty } = this.#beam;
    const size = width / groups;
    const isLast = this.length >= this.#maxTokens;
    const ranked = this.#ranked(group.live, rows, chosen);
    const norm = this.length ** lengthPenalty;
    const survivors: Candidate[] = [];
    for (const [rank, candidate] of ranked.entries()) {
      const { parent, token, sum } = candidate;
      const { last: before } = group.live[parent];
      const withToken = () => ({ event: rows[parent].event(token), before });
      const isStop = this.#stopIds.has(token), ends = isStop || rows[parent].isFinal(token);
      if (!ends) survivors.push(candidate);
      if (ends && rank < size) {
        keep(group, size, { last: isStop ? before : withToken(), score: sum / norm, reason: "stop" });
      }
      if (!ends && isLast) keep(group, size, { last: withToken(), score: sum / norm, reason: "length" });
      if (survivors.length === size) break;
    }
    for (const { token } of survivors) chosen.set(token, (chosen.get(token) ?? 0) + 1);
    const best = groups > 1 ? ranked[0]?.sum : survivors[0]?.sum;
    const isDone = isLast || survivors.length === 0 || this.#isDecided(group.ended, size, best);
    group.live = isDone ? [] : survivors.map(({ parent, token, sum }) => ({
      sum,
      last: { event: rows[parent].event(token), before: group.live[parent].last },
    }));
    return isDone ? [] : survivors;
  }

  /** All continuations of a group, the best first; of equals the earlier hypothesis, then the likelier row entry. */
  #ranked(
    live: readonly Hypothesis[],
    rows: readonly Continuations[],
    chosen: ReadonlyMap<number, number>,
  ): Candidate[] {
    const { diversityPenalty } = this.#beam;
    return rows.flatMap((row, parent) =>
      row.ids.map((token, i) => {
        const nChosen = chosen.get(token) ?? 0;
        const penalty = nChosen === 0 ? 0 : diversityPenalty * nChosen * row.penaltyFactor(token);
        return { parent, token, sum: live[parent].sum + row.scores[i] - penalty };
      })
    ).sort((a, b) => b.sum - a.sum);
  }

  /** @param best the highest sum that could still end */
  #isDecided(ended: readonly Ended[], size: number, best: number): boolean {
    const { earlyStopping, lengthPenalty } = this.#beam;
    if (ended.length < size) return false;
    if (earlyStopping === true) return true;
    const length = earlyStopping === "never" && lengthPenalty > 0 ? this.#maxTokens : this.length;
    return !(best / length ** lengthPenalty > ended[size - 1].score);
  }
}

/** Keeps the `size` best; of equals those that ended first. */
function keep(group: Group, size: number, reply: Ended): void {
  let at = group.ended.length;
  while (at > 0 && group.ended[at - 1].score < reply.score) at--;
  group.ended.splice(at, 0, reply);
  group.ended.length = Math.min(group.ended.length, size);
}

function eventsTo(last: Link | null): TokenEvent[] {
  const events: TokenEvent[] = [];
  for (let link = last; link !== null; link = link.before) events.push(link.event);
  return events.reverse();
}
