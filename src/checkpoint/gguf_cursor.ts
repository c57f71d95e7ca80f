/**
 * Little-endian values of a GGUF file, one after the other. Nothing that the file says is trusted: a
 * length is held against the bytes that are left before anything is read or allocated for it.
 * @module
 */
import { CheckpointError } from "../errors.ts";
import type { ByteSource } from "./file.ts";

/** Read from the file at once. */
const windowBytes = 1 << 18;

/** Where reading stands in a file. */
export class GgufCursor {
  readonly file: ByteSource;
  #window: DataView<ArrayBuffer> = new DataView(new ArrayBuffer(0));
  #windowAt = 0;
  #at = 0;
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(file: ByteSource) {
    this.file = file;
  }

  /** Offset of the next byte. */
  get offset(): number {
    return this.#at;
  }

  /** Bytes from here to the end of the file. */
  get bytesLeft(): number {
    return this.file.sizeBytes - this.#at;
  }

  u8(what: string): number {
    return this.#take(1, what).getUint8(this.#lastAt);
  }
  i8(what: string): number {
    return this.#take(1, what).getInt8(this.#lastAt);
  }
  u16(what: string): number {
    return this.#take(2, what).getUint16(this.#lastAt, true);
  }
  i16(what: string): number {
    return this.#take(2, what).getInt16(this.#lastAt, true);
  }
  u32(what: string): number {
    return this.#take(4, what).getUint32(this.#lastAt, true);
  }
  i32(what: string): number {
    return this.#take(4, what).getInt32(this.#lastAt, true);
  }
  f32(what: string): number {
    return this.#take(4, what).getFloat32(this.#lastAt, true);
  }
  f64(what: string): number {
    return this.#take(8, what).getFloat64(this.#lastAt, true);
  }
  u64(what: string): bigint {
    return this.#take(8, what).getBigUint64(this.#lastAt, true);
  }
  i64(what: string): bigint {
    return this.#take(8, what).getBigInt64(this.#lastAt, true);
  }

  /** Reads a byte that is 0 or 1. */
  bool(what: string): boolean {
    const value = this.u8(what);
    if (value > 1) throw this.fail(`${what} is ${value}, 0 or 1 is needed for a truth value`);
    return value === 1;
  }

  /** Reads 64 bits that count things, of which at most `most` can be. */
  count(what: string, most: number): number {
    const value = this.u64(what);
    if (value > BigInt(most)) throw this.fail(`${what} is ${value}, at most ${most} is possible`);
    return Number(value);
  }

  /** Reads a length of 64 bits, then as many bytes of UTF-8. */
  string(what: string, mostBytes: number): string {
    // No bigint, and no words made for a message that is not told: a tokenizer has a quarter of a million strings.
    const view = this.#take(8, what);
    const length = view.getUint32(this.#lastAt, true) + view.getUint32(this.#lastAt + 4, true) * 2 ** 32;
    if (length > this.bytesLeft) {
      throw this.fail(`${what} has ${BigInt(length)} bytes, the file has ${this.bytesLeft} more`);
    }
    if (length > mostBytes) {
      throw this.fail(`${what} has ${length} bytes, at most ${mostBytes} are read`);
    }
    const bytes = this.#bytes(length, what);
    try {
      return this.#utf8.decode(bytes);
    } catch {
      throw this.fail(`${what} is no valid UTF-8`);
    }
  }

  /** @returns an error that says where in the file reading stands */
  fail(problem: string): CheckpointError {
    return new CheckpointError(this.file.path, `before byte ${this.#at}: ${problem}`);
  }

  #lastAt = 0;

  /** Passes over some bytes, which then begin at `#lastAt` of the view returned. */
  #take(size: number, what: string): DataView<ArrayBuffer> {
    this.#fill(size, what);
    this.#lastAt = this.#at - this.#windowAt;
    this.#at += size;
    return this.#window;
  }

  #bytes(size: number, what: string): Uint8Array<ArrayBuffer> {
    const view = this.#take(size, what);
    return new Uint8Array(view.buffer, this.#lastAt, size);
  }

  #fill(size: number, what: string): void {
    const start = this.#at - this.#windowAt;
    if (start + size <= this.#window.byteLength) return;
    if (size > this.bytesLeft) {
      throw this.fail(`the file ends within ${what}, ${this.bytesLeft} bytes are left, ${size} are needed`);
    }
    const bytes = this.file.read(this.#at, Math.min(this.bytesLeft, Math.max(size, windowBytes)));
    this.#window = new DataView(bytes.buffer);
    this.#windowAt = this.#at;
  }
}
