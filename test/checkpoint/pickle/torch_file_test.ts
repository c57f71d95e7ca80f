import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { ModelFile } from "../../../src/checkpoint/file.ts";
import { gather } from "../../../src/checkpoint/pickle/strided.ts";
import { readTorchFile, tensorsOf } from "../../../src/checkpoint/pickle/torch_file.ts";
import { PickledTensor } from "../../../src/checkpoint/pickle/torch_names.ts";
import { readSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { CheckpointError, UnsupportedError } from "../../../src/errors.ts";
import { memoryFile } from "../write_safetensors.ts";
import { pickle, type Piece, stateDict, tensor, torchFile, type View, zip } from "./write_torch.ts";
import { spentBy } from "../../spent.ts";

const shared = fileURLToPath(new URL("../../../../shared/fixtures/v2lite_pickle/", import.meta.url));
const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const read = (bytes: Uint8Array) => readTorchFile(memoryFile(bytes));
const matrix: View = { type: "Float", key: "0", count: 6, shape: [2, 3], strides: [3, 1] };
const six = { 0: floats(1, 2, 3, 4, 5, 6) };
const valueOf = (...pieces: Piece[]) => read(torchFile(pickle(...pieces, "STOP")));

/** Asserts that a file is refused in one sentence, and quickly. */
function refuses(
  bytes: Uint8Array,
  message: RegExp,
  kind: typeof CheckpointError | typeof UnsupportedError = CheckpointError,
) {
  const spent = spentBy(() => {
    assert.throws(() => read(bytes), (error) => {
      assert.ok(error instanceof kind, `${error}`);
      assert.match(error.message, /^Cannot read memory\/model\.safetensors: [^\n]*[^.]$/);
      assert.match(error.message, message);
      return true;
    });
  });
  assert.ok(spent < 5000); // a fifth of a second where it takes longest
}
const refusesPickle = (pieces: Piece[], message: RegExp) =>
  refuses(torchFile(pickle(...pieces), six), new RegExp(`at byte \\d+ of its pickle .*${message.source}`));

test("every type, stride and shared storage of PyTorch's own file is read exactly", () => {
  if (!existsSync(shared)) {
    return console.log("NOTE: ../shared/fixtures is not here: files of PyTorch itself were not tried");
  }
  const file = new ModelFile(`${shared}assorted.bin`);
  const value = readTorchFile(file) as Map<unknown, unknown>;
  const tensors = tensorsOf(value, file.path);
  const expected = new ModelFile(`${shared}assorted_expected.safetensors`);
  const table = readSafetensors(expected, "basic");
  assert.equal(tensors.size, table.length);
  for (const { name, dtype, shape, offset, sizeBytes } of table) {
    const found = tensors.get(name)!;
    assert.deepEqual([found.dtype, found.shape], [dtype, shape], name);
    assert.deepEqual(gather(file, found), expected.read(offset, sizeBytes), name);
  }
  assert.ok(value.get("parameter") instanceof PickledTensor);
  const plain = ["epoch", "lr", "name", "flags"].map((key) => value.get(key));
  assert.deepEqual(plain, [3, 0.1, "x", [true, null, [1, 2]]]);
  file.close();
  expected.close();
});

test("a file that would run a command is refused by the name of what it wanted, and nothing ran", () => {
  if (existsSync(shared)) {
    const evil = readFileSync(`${shared}evil.bin`);
    refuses(evil, /it wants "posix\.system", which is neither tensor nor plain data/);
    refuses(readFileSync(`${shared}evil_plain.pkl`), /a pickle without an archive/, UnsupportedError);
  }
  const names = [
    "os.system",
    "builtins.eval",
    "builtins.getattr",
    "torch.load",
    "torch._utils._rebuild_qtensor",
    "numpy.core.multiarray.scalar",
    "collections.OrderedDict.__class__",
    "torch.hub.load",
    "constructor",
    "torch.__proto__",
    "toString.valueOf",
  ];
  for (const name of names) {
    const named = name.includes(".") ? name : `.${name}`;
    refusesPickle(
      [{ global: named }, "MARK", { text: "touch PWNED" }, "TUPLE", "REDUCE", "STOP"],
      /it wants ".*"/,
    );
    const [module, last] = [named.slice(0, named.lastIndexOf(".")), named.slice(named.lastIndexOf(".") + 1)];
    refusesPickle([{ text: module }, { text: last }, "STACK_GLOBAL", "STOP"], /it wants/);
  }
  // A harmless start does not help, nor does a name put together from data.
  refusesPickle([...tensor(matrix), "POP", { global: "os.system" }, "STOP"], /it wants "os\.system"/);
  refusesPickle(["EMPTY_LIST", { text: "x" }, "STACK_GLOBAL", "STOP"], /it names something by no text/);
  assert.ok(!existsSync("PWNED"));
});

test("objects of classes are refused by opcode, and calls of data too", () => {
  for (
    const [opcode, name] of [[0x69, "INST"], [0x6f, "OBJ"], [0x81, "NEWOBJ"], [0x92, "NEWOBJ_EX"], [
      0x82,
      "EXT1",
    ], [0x97, "NEXT_BUFFER"]] as const
  ) {
    refusesPickle(
      ["MARK", [opcode]],
      new RegExp(`it makes an object with ${name}, only tensors and plain data are made`),
    );
  }
  refusesPickle([{ text: "x" }, "EMPTY_TUPLE", "REDUCE", "STOP"], /it calls "a value", which is no function/);
  refusesPickle(
    [{ global: "torch.FloatStorage" }, "EMPTY_TUPLE", "REDUCE", "STOP"],
    /it calls "torch\.FloatStorage", which is no function/,
  );
  refusesPickle(["EMPTY_LIST", "EMPTY_DICT", "BUILD", "STOP"], /state of an object that is no dict/);
  // Data in the form of a name of the list is data.
  refusesPickle([
    "EMPTY_DICT",
    { text: "path" },
    { text: "os.system" },
    "SETITEM",
    "EMPTY_TUPLE",
    "REDUCE",
    "STOP",
  ], /it calls "a value"/);
});

test("plain data of all protocols is read as it is", () => {
  assert.deepEqual(
    valueOf("MARK", 1, -2, 2 ** 40, 0.5, { text: "ä\u{1f600}" }, "NONE", "NEWFALSE", "TUPLE"),
    [1, -2, 2 ** 40, 0.5, "ä\u{1f600}", null, false],
  );
  assert.deepEqual(valueOf([0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0].slice(0, 2).with(1, 0)), 0);
  assert.deepEqual(valueOf([0x8a, 1, 0xff]), -1);
  assert.deepEqual(valueOf([0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0x80]), -(2n ** 63n));
  assert.deepEqual(valueOf([0x95, 9, 0, 0, 0, 0, 0, 0, 0, 0x8c, 1, 0x78]), "x");
  assert.deepEqual(valueOf([0x43, 2, 1, 2]), Uint8Array.of(1, 2));
  assert.deepEqual(valueOf([0x8f], "MARK", 1, 1, 2, [0x90]), new Set([1, 2]));
  assert.deepEqual(valueOf({ text: "a" }, "MEMOIZE", "POP", [0x68, 0]), "a");
  assert.deepEqual(valueOf("EMPTY_DICT", { text: "__proto__" }, 1, "SETITEM"), new Map([["__proto__", 1]]));
  assert.deepEqual(valueOf({ global: "torch.Size" }, "MARK", 2, 3, "TUPLE", "TUPLE1", "REDUCE"), [2, 3]);
  assert.deepEqual(
    valueOf({ global: "torch.device" }, "MARK", { text: "cuda" }, 0, "TUPLE", "REDUCE"),
    "cuda:0",
  );
});

test("programs that are none are refused with their place", () => {
  const cases: [Piece[], RegExp][] = [
    [[], /it ends within 1 bytes/],
    [["STOP"], /takes a value from an empty stack/],
    [["NONE", "NONE", "STOP"], /leaves more than one value/],
    [["NONE", "STOP", "NONE"], /bytes follow its end/],
    [[[0xff]], /opcode 0xff is none of data/],
    [[[0x80, 0]], /protocol 0, 2 to 5 are read/],
    [[[0x80, 6]], /protocol 6/],
    [[[0x49, 0x31, 0x0a]], /opcode 0x49/],
    [["TUPLE", "STOP"], /needs a mark, there is none/],
    [["MARK", "STOP"], /a value that a mark hides/],
    [["MARK", "MEMOIZE"], /needs a value, there is none/],
    [[[0x68, 7]], /asks for value 7, which it never kept/],
    [[[0x6a, 0, 0, 0, 0x80]], /asks for value 2147483648/],
    [[[0x58, 0xff, 0xff, 0xff, 0xff]], /ends within 4294967295 bytes that it claims/],
    [[[0x8d, 0, 0, 0, 0, 0, 0, 0, 0x80]], /it claims 9223372036854775808 bytes/],
    [[[0x8b, 0xff, 0xff, 0xff, 0x7f]], /ends within 2147483647 bytes/],
    [[[0x8b, 0xff, 0xff, 0xff, 0xff]], /ends within -1 bytes/],
    [[[0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1]], /has 9 bytes, at most 8 are read/],
    [[[0x58, 1, 0, 0, 0, 0xff]], /a text in it is no UTF-8/],
    [[[0x63, 0x61]], /ends within a name/],
    [[1, "MARK", 1, "SETITEMS"], /adds to a dict that is none/],
    [["EMPTY_DICT", "MARK", 1, "SETITEMS"], /a key without a value/],
    [["EMPTY_DICT", 1, "APPEND"], /adds to a list that is none/],
    [Array.from({ length: 1001 }, () => "MARK" as const), /nests more than 1000 values/],
    [
      [{ global: "collections.OrderedDict" }, 1, "TUPLE1", "REDUCE"],
      /OrderedDict of something else than pairs/,
    ],
    [[{ text: "os.system" }, "BINPERSID"], /outside that is no storage/],
  ];
  for (const [pieces, message] of cases) refusesPickle(pieces, message);
});

test("a small file cannot make large memory", () => {
  const flood = (unit: readonly number[], count: number) => {
    const bytes = new Uint8Array(unit.length * count + 4);
    for (let i = 3; i < bytes.length - 1; i++) bytes[i] = unit[i % unit.length];
    bytes.set([0x80, 2, 0x5d]);
    bytes[bytes.length - 1] = 0x2e;
    return torchFile(bytes);
  };
  refuses(flood([0x5d, 0x30], 100_000), /it makes more than 50300 values, too many for its tensors/);
  refuses(flood([0x94], 100_000), /it makes more than 50300 values/);
  refuses(flood([0x4e], 110_000), /it stacks more than 100000 values/);
  refuses(flood([0x4b, 1, 0x61], 1_500_000), /its pickle has 4500004 bytes, at most 4003000 are read/);
});

test("a container that holds itself is read, and is no state dict", () => {
  const bytes = torchFile(pickle("EMPTY_DICT", "MEMOIZE", { text: "model" }, [0x68, 0], "SETITEM", "STOP"));
  assert.throws(() => tensorsOf(read(bytes), "x.bin"), /holds no state dict/);
});

test("a tensor stays inside its storage, whatever its offset, shape and strides", () => {
  const cases: [Partial<View>, RegExp][] = [
    [{ count: 7 }, /storage 0 should have 28 bytes, the archive has 24/],
    [{ count: 2 ** 52 }, /storage/],
    [{ count: -1 }, /-1 is no size/],
    [{ key: "1" }, /storage "1", which the archive lacks/],
    [{ key: "../version" }, /storage "\.\.\/version", which the archive lacks/],
    [{ key: "__proto__" }, /which the archive lacks/],
    [{ offset: 1 }, /reaches byte 28 of a storage of 24/],
    [{ offset: -1 }, /-1 is no size/],
    [{ offset: 0.5 }, /0\.5 is no size/],
    [{ shape: [2, 4] }, /reaches byte 28/],
    [{ strides: [4, 1] }, /reaches byte 28/],
    [{ strides: [-1, 1] }, /-1 is no size/],
    [{ shape: [2] }, /shape and strides do not fit/],
    [{ shape: [2 ** 40, 2 ** 40] }, /no size/],
    [{ shape: [2 ** 30, 3], strides: [0, 1] }, /repeats those of a storage of 24/],
    [{ shape: Array(65).fill(1), strides: Array(65).fill(1) }, /65 dimensions/],
    [{ shape: [-1, 3] }, /-1 is no size/],
    [{ type: "ComplexDouble" }, /it wants "torch\.ComplexDoubleStorage"/],
    [{ type: "Untyped" }, /without a number type/],
    [{ function: "torch._utils._rebuild_tensor_v3" }, /no number type/],
    [{ function: "torch._utils._rebuild_parameter" }, /parameter of something else/],
  ];
  for (const [change, message] of cases) {
    refusesPickle([...tensor({ ...matrix, ...change }), "STOP"], message);
  }
});

test("strided tensors come out in the order of their indices", () => {
  const views: Record<string, View> = {
    plain: matrix,
    transposed: { ...matrix, shape: [3, 2], strides: [1, 3] },
    column: { ...matrix, offset: 1, shape: [2], strides: [3] },
    inner: { ...matrix, offset: 1, shape: [2, 2], strides: [3, 1] },
    repeated: { ...matrix, shape: [2, 3], strides: [0, 2] },
    empty: { ...matrix, shape: [0, 5], strides: [9, 9] },
    scalar: { ...matrix, offset: 5, shape: [], strides: [] },
  };
  const file = memoryFile(torchFile(pickle(...stateDict(views), "STOP"), six));
  const tensors = tensorsOf(readTorchFile(file), file.path);
  const values = Object.fromEntries(
    [...tensors].map(([name, tensor]) => [name, [...new Float32Array(gather(file, tensor).buffer)]]),
  );
  assert.deepEqual(values, {
    plain: [1, 2, 3, 4, 5, 6],
    transposed: [1, 4, 2, 5, 3, 6],
    column: [2, 5],
    inner: [2, 3, 5, 6],
    repeated: [1, 3, 5, 1, 3, 5],
    empty: [],
    scalar: [6],
  });
  const contiguous = [...tensors].filter(([, tensor]) => tensor.isContiguous).map(([name]) => name);
  assert.deepEqual(contiguous, ["plain", "empty", "scalar"]);
});

test("weights are found beside what training keeps", () => {
  const dict = stateDict({ w: matrix });
  const wrapped = (key: string) =>
    pickle("EMPTY_DICT", { text: "epoch" }, 3, "SETITEM", { text: key }, ...dict, "SETITEM", "STOP");
  for (const key of ["state_dict", "model", "module"]) {
    assert.deepEqual([...tensorsOf(read(torchFile(wrapped(key), six)), "x").keys()], ["w"]);
  }
  assert.throws(
    () => tensorsOf(read(torchFile(wrapped("other"), six)), "x.bin"),
    /Cannot read x\.bin: it holds no state dict, neither itself nor under state_dict, model, module/,
  );
  assert.throws(() => tensorsOf([1], "x.bin"), CheckpointError);
});

test("ZIP64 archives are read, and so are those whose tensors lie at odd bytes", () => {
  const data = pickle(...stateDict({ w: matrix }), "STOP");
  for (const align of [1, 3, 64]) {
    for (const isZip64 of [false, true]) {
      const entries = [
        { name: "data.pkl", bytes: data, isZip64 },
        { name: "data/0", bytes: six[0], isZip64 },
      ];
      const file = memoryFile(zip(entries, { isZip64 }, align));
      const found = tensorsOf(readTorchFile(file), file.path).get("w")!;
      assert.deepEqual(gather(file, found), six[0]);
    }
  }
});

test("archives that two readers might see two ways are refused", () => {
  const data = { name: "x/data.pkl", bytes: pickle("NONE", "STOP") };
  const sound = zip([data]);
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /no file of torch\.save/],
    [sound.subarray(0, -1), /does not end as an archive/],
    [sound.subarray(0, 40), /does not end as an archive/],
    [zip([data], { comment: Uint8Array.of(1) }), /does not end as an archive/],
    [zip([data], { comment: sound.subarray(-22) }), /claims 1 entries in bytes/],
    [Uint8Array.from([...sound, ...sound]), /claims 1 entries in bytes/],
    [zip([data], { count: 2 }), /claims 2 entries/],
    [zip([data], { count: 0 }), /bytes more than 0 entries/],
    [zip([data], { start: 3 }), /claims 1 entries in bytes 3 to/],
    [zip([data], { size: 2 ** 31 }), /its directory claims 2147483648 bytes/],
    [zip([data], { isZip64: true, count: 2 ** 40 }), /claims 1099511627776 bytes/],
    [zip([{ ...data, method: 8 }]), /"x\/data\.pkl" is compressed/],
    [zip([{ ...data, flags: 1 }]), /is encrypted/],
    [zip([data, data]), /has "x\/data\.pkl" twice/],
    [zip([{ ...data, localName: "x/data.pkk" }]), /another header than the directory says/],
    [zip([{ ...data, claimed: { size: 5000 } }]), /ends at byte \d+, the directory begins at/],
    [zip([{ ...data, claimed: { packed: 3 } }]), /has 3 bytes in \d+, stored ones are equal/],
    [zip([{ ...data, claimed: { offset: 90 } }]), /in the directory|another header/],
    [
      zip([data, { name: "x/b", bytes: data.bytes, localName: "x/data.pkl", claimed: { offset: 0 } }]),
      /another header/,
    ],
  ];
  for (const [bytes, message] of cases) refuses(bytes, message);
  const program = { name: "x/data.pkl", bytes: pickle(...tensor(matrix), "STOP") };
  const packed = { name: "x/data/0", bytes: six[0], method: 8 };
  refuses(zip([program, packed]), /"x\/data\/0" is compressed/);
  assert.equal(read(zip([data, packed])), null, "what is not read may be compressed");
  refuses(zip([{ name: "x/other", bytes: data.bytes }]), /it has 0 files data\.pkl/);
  refuses(zip([data, { name: "y/data.pkl", bytes: data.bytes }]), /it has 2 files data\.pkl/);
  const long = { name: "x/a", bytes: new Uint8Array(10), claimed: { size: 40 } };
  refuses(zip([long, data]), /"x\/data\.pkl" overlaps the entry before it/);
  const nested = zip([{ name: "x/a", bytes: new Uint8Array(200) }, data]);
  const overlapping = zip([{ name: "x/a", bytes: nested, claimed: {} }, data]);
  assert.equal(read(overlapping), null, "an archive inside an entry is only bytes");
});

test("other formats of PyTorch are refused with the way out", () => {
  const tar = new Uint8Array(600);
  tar.set(new TextEncoder().encode("ustar"), 257);
  refuses(tar, /a tar archive, as PyTorch wrote before 0\.2; .*torch\.save\(torch\.load/, UnsupportedError);
  refuses(pickle("NONE", "STOP"), /before 1\.6; .*torch\.save\(torch\.load/, UnsupportedError);
  const data = pickle("NONE", "STOP");
  refuses(
    zip([{ name: "x/data.pkl", bytes: data }, { name: "x/constants.pkl", bytes: data }]),
    /TorchScript program; its state_dict/,
    UnsupportedError,
  );
  refuses(
    zip([{ name: "x/data.pkl", bytes: data }, {
      name: "x/byteorder",
      bytes: new TextEncoder().encode("big"),
    }]),
    /byte order is "big"/,
    UnsupportedError,
  );
  refuses(new TextEncoder().encode("<html>not found</html>"), /no file of torch\.save/);
  refuses(new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n"), /no file of torch\.save/);
});
