/** The fields of /tokenize, /detokenize and /apply-template, as llama-server and vLLM have them. */
import { question } from "./chat_table.ts";
import { honoured, needed, refused, type Row, type Table } from "./row.ts";

const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }];
const ofPrompt: Readonly<Record<string, Row>> = {
  tools: honoured(tools),
  tool_choice: honoured("none", { tools }),
  chat_template: refused("{{ messages }}"),
  chat_template_kwargs: honoured({ thinking: true }),
  reasoning_effort: honoured("high"),
  continue_final_message: honoured(true, {
    messages: [question, { role: "assistant", content: "I" }],
  }),
  add_generation_prompt: refused(false, true),
  documents: refused([{ text: "x" }], []),
};

export const textTables: readonly Table[] = [
  {
    title: "a text that becomes tokens",
    path: "/tokenize",
    base: { content: "Look<｜User｜>" },
    isWhole: true,
    rows: {
      content: needed,
      add_special: honoured(true),
      add_special_tokens: honoured(true),
      parse_special: honoured(false),
      with_pieces: honoured(true),
      return_token_strs: honoured(true),
    },
  },
  {
    title: "a chat that becomes tokens",
    path: "/tokenize",
    base: { messages: [question] },
    isWhole: true,
    rows: ofPrompt,
  },
  {
    title: "a chat that becomes a text",
    path: "/apply-template",
    base: { messages: [question] },
    isWhole: true,
    rows: { messages: needed, ...ofPrompt },
  },
  {
    title: "tokens that become a text",
    path: "/detokenize",
    base: { tokens: [67, 0, 68] },
    isWhole: true,
    rows: { tokens: needed, skip_special_tokens: honoured(true) },
  },
];
