import { opTest } from "./suite.ts";

opTest("argmax", {
  "no rows": (ops, random) => ops.argmax(random(0, 4)),
  "rows of one value": (ops, random) => ops.argmax(random(3, 1)),
  "a vocabulary": (ops, random) => ops.argmax(random(3, 129280)),
  "ragged widths": (ops, random) =>
    [2, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1001].map((width) => ops.argmax(random(5, width))),
  "the largest at each place in turn": (ops) => {
    const width = 67;
    const values = new Float32Array(width * width).fill(-3);
    for (let i = 0; i < width; i++) values[i * width + i] = -1;
    return ops.argmax(ops.upload(values, width));
  },
  "the first of equal ones": (ops) => {
    const values = new Float32Array(4 * 50);
    for (const at of [3, 19, 49, 50 + 33, 50 + 34, 100 + 15, 100 + 16, 150]) values[at] = 2;
    return ops.argmax(ops.upload(values, 50));
  },
  "equal ones in any two parts of long rows": (ops) => {
    const places = [0, 24_999, 25_000, 49_999, 75_000, 99_999];
    return places.flatMap((first, i) =>
      places.slice(i).map((second) => {
        const values = new Float32Array(100_000).fill(-2);
        values[first] = values[second] = -1;
        return ops.argmax(ops.upload(values, values.length));
      })
    );
  },
  "NaN or an infinity in any part of long rows": (ops, random) => {
    const width = 100_000;
    const values = random.values(4 * width);
    values[33_333] = NaN;
    values[2 * width - 1] = Infinity;
    values[2 * width + 70_000] = -Infinity;
    return ops.argmax(ops.upload(values, width));
  },
  "many long rows": (ops, random) => ops.argmax(random(40, 70_000)),
  "all alike, and zeros of both signs": (ops) =>
    ops.argmax(ops.upload(Float32Array.of(0, 0, 0, -0, 0, -0), 3)),
  "the most negative floats there are": (ops) =>
    ops.argmax(ops.upload(new Float32Array(40).fill(-3.4028234663852886e38), 20)),
  "-1 for a row with NaN or an infinity anywhere": (ops, random) => {
    const width = 37;
    const values = random.values(3 * width * width);
    for (let i = 0; i < width; i++) {
      values[i * width + i] = NaN;
      values[(width + i) * width + i] = Infinity;
      values[(2 * width + i) * width + i] = -Infinity;
    }
    return ops.argmax(ops.upload(values, width));
  },
});
