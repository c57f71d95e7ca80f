/**
 * The endpoints: the handler serves these, openapi.json describes them, and a test asks each of them.
 * @module
 */
import type { z } from "zod";
import { countRequest, messagesRequest } from "./anthropic_request.ts";
import {
  chatAnswer,
  chatChunk,
  completionAnswer,
  completionChunk,
  embeddingsAnswer,
  modelAnswer,
  modelsAnswer,
} from "./answers.ts";
import { anthropicError, countAnswer, messageAnswer, messageEvent } from "./answers_anthropic.ts";
import { responseAnswer, responseEvent } from "./answers_responses.ts";
import {
  detokenizeAnswer,
  healthAnswer,
  propsAnswer,
  templateAnswer,
  tokenizeAnswer,
} from "./answers_server.ts";
import { embeddingsRequest } from "./embeddings.ts";
import { chatRequest, completionRequest } from "./requests.ts";
import { responsesRequest } from "./responses_request.ts";
import { detokenizeRequest, templateRequest, tokenizeRequest } from "./text_tools.ts";

/** What is told of an endpoint. */
export interface Operation {
  readonly id: string;
  /** As OpenAPI writes it, with parameters in braces. */
  readonly path: string;
  readonly tag: "OpenAI" | "Anthropic" | "Text" | "Server";
  readonly summary: string;
  /** The schema of the answer, or the type of one that is no JSON. */
  readonly answer: z.ZodType | `${string}/${string}`;
  /** The schema of an error's body, where it is not OpenAI's. */
  readonly error?: z.ZodType;
  /** Answered without a key. */
  readonly isOpen?: boolean;
  /** Statuses of its own. */
  readonly statuses?: Readonly<Record<number, string>>;
}

/** An endpoint that is read from. */
export type Reading = Operation;

/** An endpoint that is sent a body, which names the model or leaves it out. */
export interface Posting<T extends z.ZodType<{ model?: string }>> extends Operation {
  readonly body: T;
  /** The schema of an event, where answers may be streamed. */
  readonly event?: z.ZodType;
  /** What this endpoint calls fields of the library's, where that is another word. */
  readonly names?: Readonly<Record<string, string>>;
  /** Data of the last event, where that is no JSON. */
  readonly lastEvent?: string;
}

const get = (
  id: string,
  path: string,
  tag: Operation["tag"],
  summary: string,
  answer: Operation["answer"],
  more: Partial<Operation> = {},
): Reading => ({ id, path, tag, summary, answer, ...more });

const post = <T extends z.ZodType<{ model?: string }>>(
  id: string,
  path: string,
  tag: Operation["tag"],
  summary: string,
  body: T,
  answer: z.ZodType,
  more: Partial<Posting<T>> = {},
): Posting<T> => ({ id, path, tag, summary, body, answer, ...more });

/** Endpoints with GET. */
export const readings = {
  models: get("listModels", "/v1/models", "OpenAI", "The model that is served", modelsAnswer),
  model: get("getModel", "/v1/models/{id}", "OpenAI", "One model by its name", modelAnswer),
  health: get("health", "/health", "Server", "Whether the server answers", healthAnswer, { isOpen: true }),
  live: get("healthLive", "/health/live", "Server", "The same, for probes of liveness", healthAnswer, {
    isOpen: true,
  }),
  ready: get("healthReady", "/health/ready", "Server", "Whether requests are taken", healthAnswer, {
    isOpen: true,
  }),
  metrics: get("metrics", "/metrics", "Server", "Counters in the text format of Prometheus", "text/plain"),
  props: get("props", "/props", "Server", "Facts of the model and its limits", propsAnswer),
  openapi: get("openapi", "/openapi.json", "Server", "This description", "application/json", {
    isOpen: true,
  }),
  docs: get("docs", "/docs", "Server", "This description, to be read by people", "text/html", {
    isOpen: true,
  }),
  socket: get(
    "webSocket",
    "/ws",
    "Server",
    "A WebSocket: messages are the bodies of /v1/chat/completions and /v1/completions with a request_id, " +
      'and bring the same chunks; {"cancel": ID} ends a reply',
    "text/plain",
    { statuses: { 101: "The connection is a WebSocket now", 426: "The request asks for no WebSocket" } },
  ),
} as const;

/** Endpoints with POST. */
export const postings = {
  chat: post(
    "createChatCompletion",
    "/v1/chat/completions",
    "OpenAI",
    "A reply to the messages of a chat",
    chatRequest,
    chatAnswer,
    { event: chatChunk, lastEvent: "[DONE]", names: { prompt: "messages" } },
  ),
  completion: post(
    "createCompletion",
    "/v1/completions",
    "OpenAI",
    "Continuations of texts or token ids",
    completionRequest,
    completionAnswer,
    { event: completionChunk, lastEvent: "[DONE]" },
  ),
  response: post(
    "createResponse",
    "/v1/responses",
    "OpenAI",
    "A reply to a conversation, without state on the server",
    responsesRequest,
    responseAnswer,
    {
      event: responseEvent,
      names: {
        prompt: "input",
        messages: "input",
        max_tokens: "max_output_tokens",
        reasoning_effort: "reasoning.effort",
      },
    },
  ),
  embeddings: post(
    "createEmbedding",
    "/v1/embeddings",
    "OpenAI",
    "A vector of length 1 for each text",
    embeddingsRequest,
    embeddingsAnswer,
    { names: { prompt: "input" } },
  ),
  message: post(
    "createMessage",
    "/v1/messages",
    "Anthropic",
    "A reply to the messages of a chat",
    messagesRequest,
    messageAnswer,
    { event: messageEvent, error: anthropicError },
  ),
  count: post(
    "countMessageTokens",
    "/v1/messages/count_tokens",
    "Anthropic",
    "How many tokens the prompt of a chat has",
    countRequest,
    countAnswer,
    { error: anthropicError },
  ),
  tokenize: post(
    "tokenize",
    "/tokenize",
    "Text",
    "Token ids of a text or of a chat's prompt",
    tokenizeRequest,
    tokenizeAnswer,
  ),
  detokenize: post(
    "detokenize",
    "/detokenize",
    "Text",
    "The text of token ids",
    detokenizeRequest,
    detokenizeAnswer,
  ),
  template: post(
    "applyTemplate",
    "/apply-template",
    "Text",
    "The prompt that a chat becomes",
    templateRequest,
    templateAnswer,
  ),
} as const;
