/**
 * A thought in the form in which clients keep it and give it back without reading it. It is not encrypted: whoever
 * is sent it may see the thought as well.
 * @module
 */
const sealBegin = "hadal1.";

/** @returns what a client is to keep */
export function sealed(thought: string): string {
  return sealBegin + Buffer.from(thought, "utf8").toString("base64");
}

/** @returns the thought, or null for what is not of this server's */
export function unsealed(content: string): string | null {
  if (!content.startsWith(sealBegin)) return null;
  return Buffer.from(content.slice(sealBegin.length), "base64").toString("utf8");
}
