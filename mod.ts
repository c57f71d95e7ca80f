/**
 * hadal runs DeepSeek models in Deno and in Bun.
 *
 * ```ts
 * import { load } from "hadal";
 *
 * await using model = await load("minnow");
 * for await (const part of model.chat([{ role: "user", content: "Hi" }])) console.log(part.text);
 * ```
 *
 * @module
 */
export {
  ChatReply,
  type Choice,
  type PartTokens,
  type PromptTokenLogprob,
  type ReasoningPart,
  type ReplyPart,
  type TextPart,
  type TokenLogprob,
  type ToolCallPart,
  type Usage,
  type WholeReply,
} from "./src/chat_reply.ts";
export type { BeamOptions } from "./src/engine/beam_options.ts";
export type {
  BlockFileCounts,
  DraftCounts,
  DraftKind,
  EngineInfo,
  EngineStats,
  FinishReason,
  Timings,
} from "./src/engine/protocol.ts";
export type { SamplingOptions } from "./src/engine/sampling_options.ts";
export type { SpeculationOption } from "./src/engine/speculation_option.ts";
export {
  BusyError,
  CheckpointError,
  DeviceError,
  DownloadError,
  MemoryError,
  RequestError,
  UnsupportedError,
} from "./src/errors.ts";
export type { AllowedTools, ChatOptions, GenerateOptions, ReasoningEffort } from "./src/generate_options.ts";
export type { GrammarOptions } from "./src/grammar_options.ts";
export type { HubOptions } from "./src/hub_settings.ts";
export {
  LanguageModel,
  type ModelInfo,
  type RenderedChat,
  type SavedConversation,
} from "./src/language_model.ts";
export { load, type LoadOptions, type Progress } from "./src/load.ts";
export type { Message } from "./src/messages.ts";
export type { RateLimit } from "./src/openai/access.ts";
export { type ApiHandler, type Handler, type HandlerOptions, openaiHandler } from "./src/openai/handler.ts";
export type { BunSocket, SocketHandlers } from "./src/openai/web_sockets.ts";
export { serve, type ServeOptions } from "./src/openai/serve.ts";
export type { Tool, ToolCall } from "./src/text/chat_message.ts";
export type { CallStart } from "./src/text/tool_call_parser.ts";
export type { OwnFormat, WeightFormat } from "./src/tensor/dtype.ts";
export type { DecodeOptions, EncodeOptions, Tokenizer } from "./src/text/tokenizer.ts";
