import { weightFormats } from "./random.ts";
import { opTest } from "./suite.ts";

for (const format of weightFormats) {
  opTest(`linear with ${format} weights`, {
    "a single number": (ops, random) => ops.linear(random(1, 1), random.weight(1, 1, format)),
    "no rows": (ops, random) => ops.linear(random(0, 64), random.weight(32, 64, format)),
    "one row of 2048 by 130 outputs": (ops, random) =>
      ops.linear(random(1, 2048), random.weight(130, 2048, format)),
    "one row of 7168": (ops, random) => ops.linear(random(1, 7168), random.weight(20, 7168, format)),
    "rows from 1 to 40, where kernels change over": (ops, random) => {
      const w = random.weight(37, 200, format);
      return Array.from({ length: 40 }, (_, i) => ops.linear(random(i + 1, 200), w));
    },
    "150 rows": (ops, random) => ops.linear(random(150, 257), random.weight(100, 257, format)),
    "45 rows wider than a panel": (ops, random) =>
      ops.linear(random(45, 1100), random.weight(20, 1100, format)),
    "200 rows wider than a panel": (ops, random) =>
      ops.linear(random(200, 1100), random.weight(37, 1100, format)),
    "every width to 70": (ops, random) =>
      Array.from({ length: 70 }, (_, i) => ops.linear(random(3, i + 1), random.weight(5, i + 1, format))),
    "every number of outputs to 70": (ops, random) =>
      Array.from({ length: 70 }, (_, i) => ops.linear(random(2, 40), random.weight(i + 1, 40, format))),
    "one row of 1100 by every number of outputs to 40": (ops, random) =>
      Array.from({ length: 40 }, (_, i) => ops.linear(random(1, 1100), random.weight(i + 1, 1100, format))),
    "one row of widths to a block and beyond, whole lines and others": (ops, random) =>
      [31, 32, 33, 64, 80, 96, 256, 992, 1024, 1056].map((width) =>
        ops.linear(random(1, width), random.weight(13, width, format))
      ),
    "widths and outputs around blocks of 128": (ops, random) =>
      [127, 128, 129, 255, 256, 257, 511, 513].map((size) =>
        ops.linear(random(2, size), random.weight(size, size, format))
      ),
    "twenty random shapes": (ops, random) =>
      Array.from({ length: 20 }, () => {
        const rows = random.int(1, 90), width = random.int(1, 300);
        return ops.linear(random(rows, width), random.weight(random.int(1, 200), width, format));
      }),
    "a row with NaN beside sound ones": (ops, random) => {
      const values = random.values(5 * 96);
      values[100] = NaN;
      const x = ops.upload(values, 96);
      return ops.linear(x, random.weight(50, 96, format));
    },
  });
}

opTest("linear with fp8 weights of every code", {
  "all scales that a file may hold": (ops, random) =>
    [1, 2e-4, -3, 127.9, 128, -1e4, 1e30, 1e-30, 1e-42, 0, Infinity, NaN].flatMap((scale) =>
      [1, 2, 3, 4, 5].map((rows) => {
        // Each row begins with another code; one has NaN, 0x7f, and one -NaN, 0xff: of both, or of one and a scale
        // that is none, a compiler chooses whose sign is left.
        const nanOfRow = Number.isFinite(scale) ? new Map([[5, 0x7f], [6, 0xff]]) : new Map<number, number>();
        const codes = Uint8Array.from({ length: 11 * 256 }, (_, i) => {
          const code = (i + 37 * (i >> 8)) & 0xff;
          return (code & 0x7f) === 0x7f && nanOfRow.get(i >> 8) !== code ? 0 : code;
        });
        const stored = random.storedFp8(11, 256, codes, Float32Array.of(scale, 1e-3));
        return ops.linear(random(rows, 256), ops.loadWeight(stored, "fp8"));
      })
    ),
});

for (const format of weightFormats.filter((format) => format !== "f32" && format !== "f16")) {
  opTest(`linear with a ${format} weight packed from other formats`, {
    "all that are not packed": (ops, random) =>
      (["F32", "BF16", "F16", "F8_E4M3"] as const).map((dtype) =>
        ops.linear(random(3, 161), ops.loadWeight(random.stored(145, 161, dtype), format))
      ),
  });
}
