/** Answers of all endpoints in one form, so that they can be held against one another. */

/** What an answer says, and in which words it refuses. */
export interface Answer {
  readonly status: number;
  /** Of an error. */
  readonly message?: string;
  readonly param?: string | null;
  /** The error has OpenAI's body, and not Anthropic's. */
  readonly isOpenai: boolean;
  /** All of the answer that is not made anew for each request. */
  readonly content: unknown;
  /** Thoughts and texts, as `[choice, kind, text]` in order, and how many calls there are; null for other answers. */
  readonly said: readonly unknown[] | null;
}

// deno-lint-ignore no-explicit-any
type Json = any;

/** Names and times of one request, and what of it is only said again. */
const passing = [
  "tools",
  "id",
  "created",
  "created_at",
  "call_id",
  "item_id",
  "system_fingerprint",
  "sequence_number",
];

function lasting(value: Json): unknown {
  if (Array.isArray(value)) return value.map(lasting);
  if (typeof value !== "object" || value === null) return value;
  const { usage, ...others } = value;
  const kept = Object.entries(others).filter(([name]) => !passing.includes(name));
  const tokens = usage && {
    prompt: usage.prompt_tokens ?? usage.input_tokens + (usage.cache_read_input_tokens ?? 0),
    reply: usage.completion_tokens ?? usage.output_tokens,
  };
  return {
    ...Object.fromEntries(kept.map(([name, one]) => [name, lasting(one)])),
    ...(tokens ? { tokens } : {}),
  };
}

/** Texts of the choices, or of the items, or of the blocks of an answer. */
function saidIn(json: Json): Piece[] {
  if (Array.isArray(json.choices)) {
    return json.choices.flatMap(({ index, message, text }: Json): Piece[] => [
      [index, "reasoning", message?.reasoning_content ?? ""],
      [index, "text", message?.content ?? text ?? ""],
      ...(message?.tool_calls ?? []).map((call: Json): Piece => [index, "call", call.function.arguments]),
    ]);
  }
  const items = json.output ?? json.content;
  if (!Array.isArray(items)) return [];
  return items.map((one: Json): Piece => {
    if (one.type === "function_call") return [0, "call", one.arguments];
    if (one.type === "tool_use") return [0, "call", JSON.stringify(one.input)];
    const text = one.thinking ?? one.text ?? one.content?.map(({ text }: Json) => text).join("") ?? "";
    return [0, one.type === "reasoning" || one.type === "thinking" ? "reasoning" : "text", text];
  });
}

type Piece = readonly [choice: number, kind: string, text: string];

/** The same of an event of a stream. */
function saidInEvent(event: Json): Piece[] {
  if (Array.isArray(event.choices)) {
    return event.choices.flatMap(({ index, delta, text }: Json): Piece[] => [
      [index, "reasoning", delta?.reasoning_content ?? ""],
      [index, "text", delta?.content ?? text ?? ""],
      ...(delta?.tool_calls ?? []).map((call: Json): Piece => [index, "call", call.function.arguments]),
    ]);
  }
  switch (event.type) {
    case "response.reasoning_text.delta":
      return [[0, "reasoning", event.delta]];
    case "response.output_text.delta":
      return [[0, "text", event.delta]];
    case "response.function_call_arguments.delta":
      return [[0, "call", event.delta]];
    case "content_block_delta": {
      const { thinking, text, partial_json } = event.delta;
      if (event.delta.type === "signature_delta") return [];
      if (thinking !== undefined) return [[0, "reasoning", thinking]];
      return text === undefined ? [[0, "call", partial_json]] : [[0, "text", text]];
    }
    default:
      return [];
  }
}

/** One text for each choice and kind. */
function joined(pieces: readonly Piece[]): [string, string][] {
  const texts = new Map<string, string>();
  for (const [choice, kind, text] of pieces) {
    const key = `${choice} ${kind}`;
    texts.set(key, (texts.get(key) ?? "") + text);
  }
  return [...texts].filter(([, text]) => text !== "").sort();
}

/** Reads an answer to its end. */
export async function answerOf(response: Response): Promise<Answer> {
  const { status } = response;
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  const text = await response.text();
  if (isStream) {
    const events = text.split("\n").filter((line) => line.startsWith("data: ") && line !== "data: [DONE]")
      .map((line) => JSON.parse(line.slice("data: ".length)));
    const failed = events.find((event) => event.error);
    const message = failed?.error.message;
    return { status, message, isOpenai: true, content: events, said: joined(events.flatMap(saidInEvent)) };
  }
  const json = JSON.parse(text);
  const { error } = json;
  const isOpenai = json.type !== "error";
  if (error) {
    return { status, message: error.message, param: error.param, isOpenai, content: json, said: null };
  }
  return { status, isOpenai, content: lasting(json), said: joined(saidIn(json)) };
}
