/**
 * What an engine says of itself.
 * @module
 */
import type { BlockFiles } from "./block_files.ts";
import type { Counters } from "./counters.ts";
import type { KvBlocks } from "./kv_blocks.ts";
import type { PrefixCache } from "./prefix_cache.ts";
import { type EngineStats, noBlockFiles } from "./protocol.ts";
import { nRequests, type Scheduler } from "./scheduler.ts";
import type { Shifting } from "./shifting.ts";
import type { Speculation } from "./speculation.ts";

/** Who is asked. */
export interface StatsSources {
  readonly counters: Counters;
  readonly scheduler: Scheduler;
  readonly blocks: KvBlocks;
  readonly prefixes: PrefixCache;
  readonly files: BlockFiles | null;
  readonly shifting: Shifting;
  readonly speculation: Speculation;
  readonly memory: EngineStats["memory"];
  /** Requests are here. */
  readonly hasWork: boolean;
}

/** @param nowMs by the engine's clock */
export function engineStats(sources: StatsSources, nowMs: number): EngineStats {
  const { counters, scheduler, blocks, prefixes, files, shifting, speculation, memory, hasWork } = sources;
  const { finished, cancelled, failed, refused } = counters;
  const ofRequests = scheduler.running.filter(({ isOwn }) => !isOwn)
    .flatMap(({ strands }) => strands.flatMap((strand) => strand.blocks));
  const usedBlocks = new Set(ofRequests).size;
  return {
    requests: {
      running: nRequests(scheduler.running),
      waiting: nRequests(scheduler.waiting),
      finished,
      cancelled,
      failed,
      refused,
    },
    tokens: { prompt: counters.promptTokens, generated: counters.generatedTokens },
    tokensPerSecond: counters.tokensPerSecond(nowMs),
    steps: counters.steps,
    batch: { now: hasWork ? counters.batchNow : 0, most: counters.batchMost },
    cacheBlocks: {
      total: blocks.total,
      used: usedBlocks,
      kept: blocks.used - usedBlocks,
      most: blocks.mostUsed,
    },
    prefixCache: {
      hitTokens: prefixes.hitTokens,
      evictedBlocks: prefixes.evictedBlocks,
      settledTokens: counters.settledTokens,
      disk: { ...(files?.counts ?? noBlockFiles) },
    },
    preemptions: scheduler.preemptions,
    contextShifts: { shifts: shifting.shifts, droppedTokens: shifting.droppedTokens },
    speculative: speculation.counts(),
    memory,
    expertTokens: counters.expertTokens,
    lastStepMs: counters.lastStepMs,
    nowMs,
  };
}
