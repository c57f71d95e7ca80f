/**
 * Conversations that leave the cache for a file, and come back from one.
 * @module
 */
import { type Backend, blockTokens, type LatentCache } from "../backend/backend.ts";
import { checkRequest } from "./check_request.ts";
import type { CacheKind } from "./conversation_file.ts";
import type { KvBlocks } from "./kv_blocks.ts";
import { type Beginning, blockNames, type PrefixCache, rootName } from "./prefix_cache.ts";
import type { FoundConversation } from "./protocol.ts";

/** What saving and restoring needs of a model. */
export interface ConversationModel {
  readonly backend: Pick<Backend, "blockBytes" | "readBlock" | "writeBlock">;
  readonly config: { readonly vocabSize: number };
}

/** What of the engine's limits matters to them. */
export interface ConversationLimits {
  readonly contextLength: number;
  readonly prefixCache: boolean;
  readonly identity?: string;
}

/** Files of conversations, imported by whoever is asked for one. */
export type ConversationFiles = Pick<
  typeof import("./conversation_file.ts"),
  "readConversation" | "writeConversation"
>;

/** Saves what the cache holds of conversations, and fills it again. */
export class Conversations {
  readonly #model: ConversationModel;
  readonly #cache: LatentCache;
  readonly #blocks: KvBlocks;
  readonly #prefixes: PrefixCache;
  readonly #limits: ConversationLimits;

  constructor(
    model: ConversationModel,
    cache: LatentCache,
    blocks: KvBlocks,
    prefixes: PrefixCache,
    limits: ConversationLimits,
  ) {
    this.#model = model;
    this.#cache = cache;
    this.#blocks = blocks;
    this.#prefixes = prefixes;
    this.#limits = limits;
  }

  /** @returns what the file holds now: fewer latents than tokens where the cache had to make room */
  save(
    files: ConversationFiles,
    path: string,
    tokens: Int32Array,
    tenant: string,
    kind: CacheKind,
    note: unknown,
  ): FoundConversation {
    const { backend } = this.#model, cache = this.#cache;
    const prompt = this.#beginning(tokens, tenant);
    const { blocks, tail, nTokens } = this.#prefixes.take(prompt, tokens.length);
    const held = tail === null ? blocks : [...blocks, tail.block];
    try {
      const bytes = new Uint8Array(backend.blockBytes(cache));
      const copies = held.values().map((block) => {
        backend.readBlock(cache, block, bytes);
        return bytes;
      });
      const head = { kind, tokens: [...tokens], nKept: nTokens, blockBytes: bytes.length, note };
      files.writeConversation(path, head, copies);
    } finally {
      this.#blocks.release(held);
    }
    return { tokens: [...tokens], keptTokens: nTokens, note };
  }

  /** Brings back what was saved, as far as there is room. */
  restore(files: ConversationFiles, path: string, tenant: string, kind: CacheKind): FoundConversation {
    const { backend, config } = this.#model, cache = this.#cache;
    return files.readConversation(path, kind, (head, next, check) => {
      checkRequest(
        Int32Array.from(head.tokens),
        { kind: "keep" },
        this.#limits.contextLength,
        config.vocabSize,
      );
      const isOfUse = head.kind.computing === kind.computing &&
        head.blockBytes === backend.blockBytes(cache) &&
        this.#limits.prefixCache;
      const blocks: number[] = [], nBlocks = Math.ceil(head.nKept / blockTokens);
      const bytes = new Uint8Array(isOfUse ? head.blockBytes : 2 ** 20);
      try {
        for (let left = isOfUse ? 0 : nBlocks * head.blockBytes; left > 0; left -= bytes.length) {
          next(bytes.subarray(0, Math.min(left, bytes.length))); // for its hash
        }
        for (let i = 0; isOfUse && i < nBlocks; i++) {
          next(bytes);
          if (blocks.length < i || (this.#blocks.free === 0 && this.#prefixes.evict(1) === 0)) continue;
          const taken = this.#blocks.take(1)!;
          blocks.push(...taken);
          backend.writeBlock(cache, taken[0], bytes);
        }
        check();
        const keptTokens = Math.min(head.nKept, blocks.length * blockTokens);
        this.#prefixes.keep(this.#beginning(Int32Array.from(head.tokens), tenant), keptTokens, blocks);
        return { tokens: head.tokens, keptTokens, note: head.note };
      } finally {
        this.#blocks.release(blocks);
      }
    });
  }

  #beginning(tokens: Int32Array, tenant: string): Beginning {
    const root = rootName(tenant, false, this.#limits.identity);
    return {
      root: this.#limits.prefixCache ? root : null,
      names: blockNames(tokens, root),
      tokens: (first, count) => tokens.subarray(first, first + count),
    };
  }
}
