/**
 * Writes safetensors files, one tensor after the other, in memory of one piece at a time.
 * Format: https://github.com/huggingface/safetensors (README, "Format").
 * @module
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { checkedSum, roundUp } from "../tensor/checked.ts";
import type { StoredTensor } from "./checkpoint.ts";
import { roomIn } from "./large_pages.ts";

/** Data begins at a multiple of this, so that tensors may be used where a mapped file has them. */
const dataAlign = 64;

/** Without it Python's transformers, up to its fourth version, refuses a file. */
const metadata = { format: "pt" };

/** A tensor that is to be written: its bytes come in pieces, `sizeBytes` in all. */
export interface NewTensor extends Pick<StoredTensor, "name" | "dtype" | "shape" | "sizeBytes"> {
  /** Asked for its pieces after all others, wherever it lies: it comes out of their making. */
  readonly isMadeLast?: boolean;
  pieces(): Iterable<Uint8Array>;
}

/**
 * Writes a new file. Gives way to others after each piece.
 * @param onPiece told the bytes written; may throw to give up, which leaves the file in part
 * @throws {Error} naming the file, also when it is there already
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly NewTensor[],
  onPiece: (bytes: number) => void,
): Promise<void> {
  const { header, offsets, fileBytes } = layout(tensors);
  const inOrder = [...tensors.entries()].sort(([, a], [, b]) => +!!a.isMadeLast - +!!b.isMadeLast);
  const file = attempt(path, () => openSync(path, "wx"));
  try {
    const makeRoom = roomIn(file, fileBytes);
    const write = (bytes: Uint8Array, position: number) => {
      attempt(path, () => {
        makeRoom(position + bytes.length);
        writeAll(file, bytes, position);
      });
    };
    write(header, 0);
    for (const [i, tensor] of inOrder) {
      const { name, sizeBytes } = tensor;
      let written = 0;
      for (const piece of tensor.pieces()) {
        if (written + piece.length > sizeBytes) {
          throw new RangeError(`Cannot write ${name}: more than the ${sizeBytes} bytes promised`);
        }
        write(piece, header.length + offsets[i] + written);
        written += piece.length;
        onPiece(piece.length);
        await new Promise((resolve) => setImmediate(resolve)); // signals arrive only between pieces
      }
      if (written !== sizeBytes) {
        throw new RangeError(`Cannot write ${name}: ${written} bytes made, ${sizeBytes} promised`);
      }
    }
    attempt(path, () => fsyncSync(file));
  } finally {
    closeSync(file);
  }
}

/** @returns the header, where each tensor begins after it, and the bytes of all */
function layout(tensors: readonly NewTensor[]): { header: Uint8Array; offsets: number[]; fileBytes: number } {
  let end = 0;
  const offsets: number[] = [];
  const entries = tensors.map(({ name, dtype, shape, sizeBytes }) => {
    const begin = end;
    offsets.push(begin);
    end = checkedSum([end, sizeBytes], name);
    return [name, { dtype, shape, data_offsets: [begin, end] }];
  });
  const all = Object.fromEntries([["__metadata__", metadata], ...entries]);
  const text = new TextEncoder().encode(JSON.stringify(all));
  const header = new Uint8Array(roundUp(8 + text.length, dataAlign)).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  return { header, offsets, fileBytes: checkedSum([header.length, end], "the file") };
}

function writeAll(file: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;) {
    done += writeSync(file, bytes, done, bytes.length - done, position + done);
  }
}

/** @throws {Error} saying which file could not be written, and why */
export function attempt<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    const reason = (error as Error).message.replace(/, \w+ '.*'$/s, ""); // which names the path again, or a partial file
    throw new Error(`Cannot write ${path}: ${reason}`, { cause: error });
  }
}
