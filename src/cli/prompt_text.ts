/**
 * The prompt of a command: the words behind it, or what comes through a pipe.
 * @module
 */
import { Buffer } from "node:buffer";
import process from "node:process";

/** More than any model's context; a pipe may have no end. */
const mostBytes = 64 * 2 ** 20;

/**
 * @param words behind the model; "-" alone, or none, for standard input
 * @throws {Error} there is none, or too much of it
 */
export async function promptText(command: string, words: readonly string[]): Promise<string> {
  if (words.length > 0 && !(words.length === 1 && words[0] === "-")) return words.join(" ");
  if (process.stdin.isTTY) {
    throw new Error(`${command}: no text was given, as words behind the model or through a pipe`);
  }
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of process.stdin) {
    pieces.push(piece as Uint8Array);
    sizeBytes += piece.length;
    if (sizeBytes > mostBytes) {
      throw new Error(`${command}: more than ${mostBytes} bytes came through the pipe`);
    }
  }
  const text = decode(command, Buffer.concat(pieces)).replace(/\r?\n$/, ""); // which echo and editors add
  if (text === "") throw new Error(`${command}: no text was given, the pipe is empty`);
  return text;
}

function decode(command: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${command}: what came through the pipe is not UTF-8`);
  }
}
