/**
 * What hadal reads of `tokenizer_config.json`. The file is not trusted.
 * @module
 */
import { CheckpointError } from "../errors.ts";
import { JsonSyntaxError, parseJson } from "../json_scanner.ts";

export interface TokenizerConfig {
  /** How error messages call the file. */
  readonly file: string;
  readonly bosToken: string | null;
  readonly eosToken: string | null;
  /** A text to be continued begins with the first of these. */
  readonly addsBos: boolean;
  /** Jinja, or null where the file has none. */
  readonly chatTemplate: string | null;
}

const file = "tokenizer_config.json";

/** @param json its text, or null where there is no such file */
export function readTokenizerConfig(json: string | null): TokenizerConfig {
  const config = json === null ? {} : parseObject(json);
  return {
    file,
    bosToken: tokenText(config, "bos_token"),
    eosToken: tokenText(config, "eos_token"),
    addsBos: config.add_bos_token === true,
    chatTemplate: chatTemplate(config.chat_template),
  };
}

function parseObject(json: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseJson(json);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new CheckpointError(file, `it is not JSON: ${error.message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CheckpointError(file, "it does not hold an object");
  }
  return value as Record<string, unknown>;
}

/** A token is named by its text, or by an object that holds it. */
function tokenText(config: Record<string, unknown>, key: string): string | null {
  const value = config[key] ?? null;
  const text = typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
  if (text === null || text === "") return null;
  if (typeof text !== "string") throw new CheckpointError(file, `its ${key} is not a token's text`);
  return text;
}

/** One template, or a list of named ones of which "default" is meant. */
function chatTemplate(value: unknown): string | null {
  const template = Array.isArray(value) ? value.find((entry) => entry?.name === "default")?.template : value;
  if (template === undefined || template === null) return null;
  if (typeof template !== "string") throw new CheckpointError(file, "its chat_template is not text");
  return template;
}
