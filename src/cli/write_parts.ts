/**
 * A reply in a terminal or a pipe.
 * @module
 */
import process from "node:process";
import type { ChatReply, ReplyPart } from "../chat_reply.ts";

/** Writes a reply as it comes, thoughts dimmed in a terminal. @returns its text */
export async function writeParts(reply: ChatReply): Promise<string> {
  const dim = (text: string) => process.stdout.isTTY ? `\x1b[2m${text}\x1b[22m` : text;
  let written: ReplyPart["type"] | null = null;
  try {
    for await (const { type, text } of reply) {
      if (text === "") continue;
      if (written === "reasoning" && type === "text") process.stdout.write("\n\n");
      process.stdout.write(type === "reasoning" ? dim(text) : text);
      written = type;
    }
  } finally {
    if (written !== null) process.stdout.write("\n");
  }
  return (await reply).text;
}
