/**
 * SHA-256 (FIPS 180-4) of a few hundred bytes at a time, at once: `node:crypto` takes Deno tens of ms to load
 * in a thread that needs nothing else of Node, and what the web has answers only later.
 * @module
 */

/** The first 64 prime numbers. */
const primes: number[] = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);

/** The first 32 bits behind the point (§4.2.2, §5.3.3). */
const fraction = (value: number) => Math.floor((value - Math.floor(value)) * 2 ** 32) | 0;
const roundConstants = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));
const beginning = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

const blockBytes = 64;
const schedule = new Int32Array(64);

/** @returns (32) */
export function sha256(...pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const nBytes = pieces.reduce((sum, { length }) => sum + length, 0);
  // A one bit, zeros, and the length in bits as the last eight bytes (§5.1.1).
  const padded = new Uint8Array(Math.ceil((nBytes + 9) / blockBytes) * blockBytes);
  let at = 0;
  for (const piece of pieces) {
    padded.set(piece, at);
    at += piece.length;
  }
  padded[nBytes] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, 8n * BigInt(nBytes));
  const state = beginning.slice();
  for (let block = 0; block < padded.length; block += blockBytes) compress(state, view, block);
  const digest = new DataView(new ArrayBuffer(4 * state.length));
  for (const [i, word] of state.entries()) digest.setInt32(4 * i, word);
  return new Uint8Array(digest.buffer);
}

/** Adds a block to the state (§6.2.2). */
function compress(state: Int32Array, message: DataView, offset: number): void {
  const w = schedule;
  for (let t = 0; t < 16; t++) w[t] = message.getInt32(offset + 4 * t);
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15], y = w[t - 2];
    const s0 = rotated(x, 7) ^ rotated(x, 18) ^ x >>> 3;
    const s1 = rotated(y, 17) ^ rotated(y, 19) ^ y >>> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 64; t++) {
    const s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
    const t1 = h + s1 + (e & f ^ ~e & g) + roundConstants[t] + w[t] | 0;
    const s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
    const t2 = s0 + (a & b ^ a & c ^ b & c) | 0;
    h = g;
    g = f;
    f = e;
    e = d + t1 | 0;
    d = c;
    c = b;
    b = a;
    a = t1 + t2 | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

function rotated(word: number, bits: number): number {
  return word >>> bits | word << 32 - bits;
}
