/**
 * All messages across the Worker border: tokens and numbers, no text.
 * @module
 */
import type { GrammarSpec, ThoughtLimit } from "../grammar/spec.ts";
import type { VocabularyBytes } from "../grammar/vocabulary.ts";
import type { CacheDtype, WeightFormat } from "../tensor/dtype.ts";

/** What the Worker needs to open a model. */
export interface OpenOptions {
  /** Folder of the checkpoint. */
  readonly folder: string;
  readonly backend: "auto" | "reference" | "cpu";
  /** Instruction set to force, by name ("portable", "avx2", …), or null for the best. */
  readonly isa: string | null;
  /** Path of a kernel library to use instead of building one, or null. */
  readonly library: string | null;
  /** C compiler to try first where the library must be built, or null. */
  readonly compiler: string | null;
  readonly threads: number | "auto";
  readonly weights: "auto" | WeightFormat;
  readonly activations: "auto" | "f32";
  readonly cacheDtype: CacheDtype;
  /** Bytes for the latent cache, or null for a default. */
  readonly cacheBytes: number | null;
  /** Longest sequence, prompt and reply; null for the model's own or what the cache holds. */
  readonly contextLength: number | null;
  /** Sequences computed at once. */
  readonly maxSequences: number;
  /** Requests that may wait; one more is refused. */
  readonly maxQueue: number;
  /** Prompt tokens computed in one step. */
  readonly chunkTokens: number;
  readonly validation: "none" | "basic" | "full";
  /** Copies mapped weights that lie in small pages into huge ones, where there is memory for both. */
  readonly hugePages: boolean;
  /** Keeps the cache blocks of prompts for later ones that begin alike. */
  readonly prefixCache: boolean;
  /** Loads the layer for multi-token prediction, where the checkpoint has one. */
  readonly mtp: boolean;
  /** Folder where those blocks outlive the cache, or null. */
  readonly cacheFolder: string | null;
  /** Most bytes of the files there. */
  readonly cacheFolderBytes: number;
}

/** What is taken where the caller does not say. */
export const openDefaults: Omit<OpenOptions, "folder"> = {
  backend: "auto",
  isa: null,
  library: null,
  compiler: null,
  threads: "auto",
  weights: "auto",
  activations: "auto",
  cacheDtype: "f32",
  cacheBytes: null,
  contextLength: null,
  maxSequences: 8,
  maxQueue: 256,
  chunkTokens: 512,
  validation: "basic",
  hugePages: true,
  prefixCache: true,
  mtp: true,
  cacheFolder: null,
  cacheFolderBytes: 16 * 2 ** 30,
};

/** Facts of the opened model, for `model.info` and for checks before a request is sent. */
export interface EngineInfo {
  /** As config.json names it. */
  readonly architecture: string;
  /** Width of the logits: token ids are below it. */
  readonly vocabSize: number;
  /** Width of the hidden states, and of embeddings. */
  readonly hidden: number;
  /** Longest prompt and reply together, in tokens. */
  readonly contextLength: number;
  /** Sequences that are computed at once. */
  readonly maxSequences: number;
  /** Numbers in the weights: all, and those that one token is computed with. */
  readonly parameters: { readonly total: number; readonly active: number };
  /** Bytes of the matrices in each format that occurs, the most first. */
  readonly weightFormats: Readonly<Partial<Record<WeightFormat, number>>>;
  /** Of those, bytes that loading made anew, such as "Q5_0 to int8"; all others are used as they lie in the files. */
  readonly repacked: Readonly<Record<string, number>>;
  /** Bytes that the model takes, by what for; a step's activations at the most. */
  readonly bytes: { readonly weights: number; readonly cache: number; readonly activations: number };
  /** Who computes. */
  readonly backend: string;
  /** The instruction set that was chosen. */
  readonly kernels: string;
  /** Threads that compute. */
  readonly threads: number;
  /** Why each backend that "auto" would have preferred was passed over. */
  readonly passedOver: readonly { readonly backend: string; readonly reason: string }[];
  /** Tokens that end a reply. */
  readonly eosIds: readonly number[];
  /** The token that begins a text, or null. */
  readonly bosId: number | null;
  /** What a request's `speculative` can name. */
  readonly draftKinds: readonly DraftKind[];
}

/** What guesses the tokens that come next: the layer for multi-token prediction, the text so far, another model. */
export type DraftKind = "mtp" | "ngram" | "model";

/** All of them, in the order in which they are named. */
export const draftKinds: readonly DraftKind[] = ["mtp", "ngram", "model"];

/** Guesses that the network checks many at once; they change no reply, only how soon it comes. */
export interface Speculation {
  readonly kind: DraftKind;
  /** Most tokens guessed ahead; fewer where they turn out wrong. */
  readonly tokens: number;
}

/** How a beam search goes; `engine/beam_search.ts` says what each number does. */
export interface Beam {
  /** Hypotheses alive at once, over all groups. */
  readonly width: number;
  /** Divides the width. */
  readonly groups: number;
  readonly diversityPenalty: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | "never";
}

/**
 * How the sequences of a request are generated. Every number is checked by `engine/sampling_options.ts`
 * before it is sent.
 */
export interface Sampling {
  /** 0 takes the likeliest token. */
  readonly temperature: number;
  /** Tokens kept, or 0 for all. */
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly typicalP: number;
  /** Over the tokens of prompt and reply. */
  readonly repetitionPenalty: number;
  /** Over the tokens of the reply, as presencePenalty. */
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly logitBias: readonly (readonly [id: number, bias: number])[];
  /** Tokens that may be drawn, ascending; null for all. */
  readonly allowedIds: readonly number[] | null;
  /** Tokens that may not stand one after the other in the reply. */
  readonly badWords: readonly (readonly number[])[];
  readonly seed: number;
  /** Stop tokens are not drawn before this many others. */
  readonly minTokens: number;
  /** The engine lowers it to what the context still holds. */
  readonly maxTokens: number;
  /** Tokens that end the reply; not part of it. */
  readonly stopIds: readonly number[];
  /** Log-probabilities of this many likeliest tokens at each step; null for none at all. */
  readonly topLogprobs: number | null;
  /** What stays where the reply fills the context and is to go on; null ends it there. */
  readonly contextShift: { readonly keepTokens: number } | null;
  /** Null computes one token after the other. */
  readonly speculative: Speculation | null;
  /** Later turns repeat the reply: what the cache holds of it is made of use to them while nobody waits. */
  readonly isRepeated: boolean;
  /** What the reply has to be; null for anything. */
  readonly grammar: GrammarSpec | null;
  /** How long its thought may be; null for as long as it likes. */
  readonly thought: ThoughtLimit | null;
  /** Log-probabilities of the prompt's tokens, with this many likeliest beside each; null for none at all. */
  readonly promptLogprobs: number | null;
  /** Sequences to generate: each draws with a seed of its own, or is one of the best of a beam search. */
  readonly n: number;
  /** Null to draw tokens. */
  readonly beam: Beam | null;
}

/** One generated token. */
export interface TokenEvent {
  readonly token: number;
  /** ln p of the token under the model's own distribution; NaN when not asked for. */
  readonly logprob: number;
  /** Likeliest tokens with ln p, best first. */
  readonly top: readonly (readonly [id: number, logprob: number])[];
}

/** A token of the prompt, after those before it. */
export interface PromptLogprob extends TokenEvent {
  /** 1 for the likeliest token. */
  readonly rank: number;
}

/** A token and the request that it belongs to. */
export interface NumberedToken {
  readonly id: number;
  readonly event: TokenEvent;
}

/**
 * A request's next tokens, bare ids where no log-probabilities were asked for: objects would be most of a
 * message.
 */
export type ToldTokens = (number | TokenEvent)[];

/** Why a sequence ended. */
export type FinishReason = "stop" | "length" | "cancelled";

/** Where a request's time went, in milliseconds. */
export interface Timings {
  /** Until its first step. */
  readonly queueMs: number;
  /** For the prompt. */
  readonly prefillMs: number;
  /** For the reply. */
  readonly decodeMs: number;
}

/** How a sequence ended. */
export interface Finish {
  readonly reason: FinishReason;
  readonly timings: Timings;
  /** Prompt tokens that another request had computed. */
  readonly cachedTokens: number;
  /** Tokens that went where the context was full. */
  readonly droppedTokens: number;
  /** Tokens that were guessed ahead and computed, and how many of them became part of the reply. */
  readonly drafts: DraftCounts;
  /** Of a beam search: what its replies are ranked by. */
  readonly score?: number;
  /** The mean ln p of its tokens and the one that ended it, where logprobs were asked for. */
  readonly meanLogprob?: number;
}

/** Tokens that were guessed ahead. */
export interface DraftCounts {
  /** Computed along with the token before them. */
  readonly drafted: number;
  /** Drawn by the network itself: each one is a step less. */
  readonly accepted: number;
}

/** What became of cache blocks in files. */
export interface BlockFileCounts {
  /** Blocks that were put into files. */
  readonly writtenBlocks: number;
  /** Blocks that were brought back. */
  readonly readBlocks: number;
  /** Files that were not what their names say: they were deleted. */
  readonly rejectedFiles: number;
  /** Writes that failed. */
  readonly errors: number;
  /** Files that made room for others. */
  readonly deletedFiles: number;
  /** Of the files that are known. */
  readonly bytes: number;
}

/** Where there is no folder. */
export const noBlockFiles: BlockFileCounts = {
  writtenBlocks: 0,
  readBlocks: 0,
  rejectedFiles: 0,
  errors: 0,
  deletedFiles: 0,
  bytes: 0,
};

/** High-water marks and counters since the model was opened. */
export interface EngineStats {
  /** Those here now, and those that have ended or were never accepted, by how. */
  readonly requests: {
    readonly running: number;
    readonly waiting: number;
    readonly finished: number;
    readonly cancelled: number;
    readonly failed: number;
    readonly refused: number;
  };
  /** Tokens computed: those of prompts, and those of replies. */
  readonly tokens: { readonly prompt: number; readonly generated: number };
  /** Over the steps of the last seconds. */
  readonly tokensPerSecond: { readonly prompt: number; readonly generated: number };
  /** Passes of the network. */
  readonly steps: number;
  /** Sequences in the last step, 0 while there is none; the most in one. */
  readonly batch: { readonly now: number; readonly most: number };
  /** Used by sequences; kept for prompts to come; the most that were used or kept at once. */
  readonly cacheBlocks: {
    readonly total: number;
    readonly used: number;
    readonly kept: number;
    readonly most: number;
  };
  /** Prompt tokens that did not have to be computed, and blocks that were given up for others. */
  readonly prefixCache: {
    readonly hitTokens: number;
    readonly evictedBlocks: number;
    /** Tokens of replies that were computed as parts of prompts to come. */
    readonly settledTokens: number;
    readonly disk: BlockFileCounts;
  };
  /** Times that a sequence gave its blocks back, to be computed again later. */
  readonly preemptions: number;
  /** Times that a reply went on in a full context, and the tokens that went for it. */
  readonly contextShifts: { readonly shifts: number; readonly droppedTokens: number };
  /** What came of guesses, in all and by who guessed; `steps`: times that a sequence's guesses were computed. */
  readonly speculative: DraftCounts & {
    readonly steps: number;
    readonly byKind: Readonly<Record<DraftKind, DraftCounts & { readonly steps: number }>>;
  };
  /** As `BackendMemory` says. */
  readonly memory: {
    readonly allocatedBytes: number;
    readonly mappedBytes: number;
    readonly movedBytes: number;
    readonly pendingBytes: number;
    readonly stepPeakBytes: number;
  };
  /** Tokens that each expert received in a sample of the steps, by layer; empty for layers without experts. */
  readonly expertTokens: readonly (readonly number[])[];
  /** When the last step ended, in ms of a monotonic clock. */
  readonly lastStepMs: number;
  /** When this was counted, by the same clock. */
  readonly nowMs: number;
}

/** A conversation in a file. */
export interface FoundConversation {
  readonly tokens: readonly number[];
  /** Tokens whose latents are in the file, or were brought back from it. */
  readonly keptTokens: number;
  readonly note: unknown;
}

/** To the Worker. `id` names a request; answers carry it back. */
export type ToWorker =
  | {
    readonly type: "open";
    readonly options: OpenOptions;
    /** One i32: not 0 once the caller has lost interest; a busy Worker reads no messages. */
    readonly abandoned: SharedArrayBuffer;
    /** Of a `Bell` that rings for each message after this one. */
    readonly bell: SharedArrayBuffer;
  }
  /** Opens a model that guesses for this one, before the first request that asks for its guesses. */
  | { readonly type: "draft"; readonly id: number; readonly folder: string }
  /** Before the first request with a grammar. */
  | { readonly type: "vocabulary"; readonly vocabulary: VocabularyBytes }
  | {
    readonly type: "generate";
    /** Of the first of `sampling.n` sequences; those of the others follow it. */
    readonly id: number;
    readonly tokens: Int32Array<ArrayBuffer>;
    readonly sampling: Sampling;
    /** Who may share cached prompts. */
    readonly tenant: string;
  }
  | { readonly type: "logits" | "embed"; readonly id: number; readonly tokens: Int32Array<ArrayBuffer> }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "stats"; readonly id: number }
  /** Computes tokens for nobody but later prompts. */
  | {
    readonly type: "keep";
    readonly id: number;
    readonly tokens: Int32Array<ArrayBuffer>;
    readonly tenant: string;
  }
  | {
    readonly type: "save";
    readonly id: number;
    readonly path: string;
    readonly tokens: Int32Array<ArrayBuffer>;
    readonly tenant: string;
    readonly note: unknown;
  }
  | { readonly type: "restore"; readonly id: number; readonly path: string; readonly tenant: string }
  /** `drain` lets all accepted requests end first; otherwise they are cancelled. */
  | { readonly type: "close"; readonly drain: boolean };

/** A thrown error as plain data; `fields` are its own properties. */
export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** From the Worker. One `tokens` message carries those since the one before, by request. */
export type FromWorker =
  | { readonly type: "progress"; readonly stage: string; readonly done: number; readonly total: number }
  | { readonly type: "opened"; readonly info: EngineInfo }
  | { readonly type: "tokens"; readonly tokens: ReadonlyMap<number, ToldTokens> }
  /** Some rows of the answer to `logits`, or the one row of `embed`. */
  | {
    readonly type: "rows";
    readonly id: number;
    readonly firstRow: number;
    readonly values: Float32Array<ArrayBuffer>;
  }
  /** Some tokens of the prompt, in order from its second one on. */
  | { readonly type: "prompt"; readonly id: number; readonly logprobs: readonly PromptLogprob[] }
  | { readonly type: "finished"; readonly id: number; readonly finish: Finish }
  | { readonly type: "stats"; readonly id: number; readonly stats: EngineStats }
  /** The answer to `save` and `restore`. */
  | { readonly type: "conversation"; readonly id: number; readonly found: FoundConversation }
  /** The answer to `draft`. */
  | { readonly type: "drafting"; readonly id: number }
  /** `id` is null when the whole engine failed. */
  | { readonly type: "failed"; readonly id: number | null; readonly error: WireError }
  | { readonly type: "closed" };
