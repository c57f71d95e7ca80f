/**
 * GGUF's blocks to f32, exactly: every product and sum is rounded to f32 where the format's own reader
 * rounds. Here the types of 32 values and the ternary ones; the others are in `gguf_k_blocks.ts` and
 * `gguf_i_blocks.ts`. Layouts: ggml-common.h of https://github.com/ggml-org/ggml.
 * @module
 */

/**
 * Decodes one block.
 * @param out f32, of which the block's values are written from `at` on
 * @param bytes the file's bytes, of which the block begins at `from`
 */
export type BlockDecoder = (out: Float32Array, at: number, bytes: DataView, from: number) => void;

const f32 = Math.fround;

/** The 16 values of IQ4_NL and IQ4_XS. */
export const nonLinear4: Int8Array = Int8Array.of(
  -127,
  -104,
  -83,
  -65,
  -49,
  -35,
  -22,
  -10,
  1,
  13,
  25,
  38,
  53,
  69,
  89,
  113,
);

/** The 16 values of e2m1, twice as large (OCP Microscaling Formats, §5.3.3). */
export const e2m1Doubled: Int8Array = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

// In 16 bytes for 32 codes the lower halves are the first 16, the upper halves the others.

export const decodeQ4_0: BlockDecoder = (out, at, bytes, from) => {
  const scale = bytes.getFloat16(from, true);
  for (let i = 0; i < 16; i++) {
    const both = bytes.getUint8(from + 2 + i);
    out[at + i] = scale * ((both & 15) - 8);
    out[at + 16 + i] = scale * ((both >> 4) - 8);
  }
};

export const decodeQ4_1: BlockDecoder = (out, at, bytes, from) => {
  const scale = bytes.getFloat16(from, true), least = bytes.getFloat16(from + 2, true);
  for (let i = 0; i < 16; i++) {
    const both = bytes.getUint8(from + 4 + i);
    out[at + i] = f32(scale * (both & 15)) + least;
    out[at + 16 + i] = f32(scale * (both >> 4)) + least;
  }
};

export const decodeQ5_0: BlockDecoder = (out, at, bytes, from) => {
  const scale = bytes.getFloat16(from, true), fifths = bytes.getUint32(from + 2, true);
  for (let i = 0; i < 16; i++) {
    const both = bytes.getUint8(from + 6 + i);
    out[at + i] = scale * ((both & 15 | ((fifths >>> i) & 1) << 4) - 16);
    out[at + 16 + i] = scale * ((both >> 4 | ((fifths >>> (16 + i)) & 1) << 4) - 16);
  }
};

export const decodeQ5_1: BlockDecoder = (out, at, bytes, from) => {
  const scale = bytes.getFloat16(from, true), least = bytes.getFloat16(from + 2, true);
  const fifths = bytes.getUint32(from + 4, true);
  for (let i = 0; i < 16; i++) {
    const both = bytes.getUint8(from + 8 + i);
    out[at + i] = f32(scale * (both & 15 | ((fifths >>> i) & 1) << 4)) + least;
    out[at + 16 + i] = f32(scale * (both >> 4 | ((fifths >>> (16 + i)) & 1) << 4)) + least;
  }
};

export const decodeQ8_0: BlockDecoder = (out, at, bytes, from) => {
  const scale = bytes.getFloat16(from, true);
  for (let i = 0; i < 32; i++) out[at + i] = scale * bytes.getInt8(from + 2 + i);
};

export const decodeIq4Nl: BlockDecoder = (out, at, bytes, from) =>
  putLevels(out, at, bytes, from + 2, bytes.getFloat16(from, true), nonLinear4);

export const decodeMxfp4: BlockDecoder = (out, at, bytes, from) =>
  putLevels(out, at, bytes, from + 1, halfPowerOfTwo(bytes.getUint8(from)), e2m1Doubled);

function putLevels(
  out: Float32Array,
  at: number,
  bytes: DataView,
  from: number,
  scale: number,
  levels: Int8Array,
): void {
  for (let i = 0; i < 16; i++) {
    const both = bytes.getUint8(from + i);
    out[at + i] = scale * levels[both & 15];
    out[at + 16 + i] = scale * levels[both >> 4];
  }
}

/** @returns half of the e8m0 number 2^(code - 127) */
function halfPowerOfTwo(code: number): number {
  return 2 ** (code - 128);
}

/** Four groups of 16, each with a scale in e4m3 that has no sign. */
export const decodeNvfp4: BlockDecoder = (out, at, bytes, from) => {
  for (let group = 0; group < 4; group++) {
    const scale = halfE4m3(bytes.getUint8(from + group));
    for (let i = 0; i < 8; i++) {
      const both = bytes.getUint8(from + 4 + 8 * group + i);
      out[at + 16 * group + i] = scale * e2m1Doubled[both & 15];
      out[at + 16 * group + 8 + i] = scale * e2m1Doubled[both >> 4];
    }
  }
};

function halfE4m3(code: number): number {
  if (code === 0x7f) return 0; // NaN in e4m3; the format's own reader makes it 0
  const exponent = (code >> 3) & 15, mantissa = code & 7;
  return exponent === 0 ? mantissa * 2 ** -10 : (1 + mantissa / 8) * 2 ** (exponent - 8);
}

/** Five ternary digits a byte, as the fraction that the byte is of 256. */
export const decodeTq1_0: BlockDecoder = (out, at, bytes, from) => {
  const scale = bytes.getFloat16(from + 52, true);
  const digits = (first: number, count: number, nDigits: number, to: number) => {
    for (let digit = 0, power = 1; digit < nDigits; digit++, power *= 3) {
      for (let i = 0; i < count; i++) {
        const rest = (bytes.getUint8(from + first + i) * power) & 255;
        out[at + to + digit * count + i] = scale * (((rest * 3) >> 8) - 1);
      }
    }
  };
  digits(0, 32, 5, 0);
  digits(32, 16, 5, 160);
  digits(48, 4, 4, 240);
};

export const decodeTq2_0: BlockDecoder = (out, at, bytes, from) => {
  const scale = bytes.getFloat16(from + 64, true);
  for (let i = 0; i < 256; i++) {
    const code = bytes.getUint8(from + 32 * (i >> 7) + (i & 31)) >> (2 * ((i >> 5) & 3));
    out[at + i] = scale * ((code & 3) - 1);
  }
};
