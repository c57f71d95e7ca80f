/**
 * A process of its own in which a conversation comes from a file and goes on, and in which the same one,
 * computed here, leaves for another file: talk_in_file.ts FROM TO. Prints what it found as JSON.
 * @module
 */
import process from "node:process";
import { type LanguageModel, load, type Message } from "../mod.ts";

/** What was found of a conversation, and what was said next. */
export interface Talk {
  readonly messages: readonly Message[];
  readonly keptTokens: number;
  readonly cachedTokens: number;
  readonly reply: readonly number[];
}

const greedy = { maxTokens: 12, temperature: 0, ignoreEos: true };

/** The model that talks. */
export const openTalker = (): Promise<LanguageModel> =>
  load("minnow", { backend: "auto", contextLength: 512 });

/** Computes a conversation, and saves it. */
export async function saveTalk(model: LanguageModel, path: string): Promise<void> {
  const messages: Message[] = [];
  for (const content of ["Tell me of the fox. 🦊", "And “then”?", "Why\nnot?"]) {
    messages.push({ role: "user", content });
    const { text } = await model.chat(messages, greedy);
    messages.push({ role: "assistant", content: text });
  }
  await model.saveConversation(path, messages);
}

/** Goes on with a saved conversation, of which the cache knows no more than the file. */
export async function continueTalk(model: LanguageModel, path: string): Promise<Talk> {
  const tenant = "from a file";
  const { messages, keptTokens } = await model.loadConversation(path, { tenant });
  const next: Message = { role: "user", content: "And in the end?" };
  const { tokens, usage } = await model.chat([...messages!, next], { ...greedy, tenant });
  return { messages: messages!, keptTokens, cachedTokens: usage.cachedTokens, reply: tokens };
}

const [from, to] = process.argv.slice(2);
if (import.meta.main) {
  await using model = await openTalker();
  console.log(JSON.stringify(await continueTalk(model, from)));
  await saveTalk(model, to);
}
