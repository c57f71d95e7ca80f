/**
 * Weights of a kernel library: used as they lie in their mapped files, or repacked.
 * @module
 */
import { statusOf } from "../../checkpoint/file.ts";
import { CheckpointError, UnsupportedError } from "../../errors.ts";
import type { WeightFormat } from "../../tensor/dtype.ts";
import { checkedProduct } from "../../tensor/checked.ts";
import { weightBytes } from "../../tensor/packed_format.ts";
import type { Experts, MlpWeights, PackedBytes, StoredMatrix, Vector, Weight } from "../backend.ts";
import { formatsOf } from "../formats.ts";
import { checkPacked } from "../packed_check.ts";
import { handleOf, type NativeDevice } from "./device.ts";
import { packedStrips } from "../strips.ts";
import { decodedWeight, packedBytes, type PackedSizes, repack, repackInStrips } from "./repack.ts";

/** Weight formats in the order of ops.h. */
export const nativeFormats: readonly WeightFormat[] = [
  "f32",
  "bf16",
  "f16",
  "fp8",
  "int8",
  "int4",
  "int4a",
  "int3",
  "nf4",
  "q8_0",
  "q4_0",
  "q5_0",
  "q5_1",
  "q4_k",
  "q5_k",
  "q6_k",
];

/** {@link Backend.loadWeight} */
export function loadWeight(
  device: NativeDevice,
  stored: StoredMatrix,
  format: "auto" | WeightFormat,
): Weight {
  const { rows, width } = stored;
  const { storedFormat, wanted } = checkedFormats(stored, format);
  const [from, to] = [storedFormat, wanted].map((name) => nativeFormats.indexOf(name));
  const handle = from === to
    ? mapped(device, stored, from)
    : stored.sizeBytes > wholeBytes
    ? repackInStrips(device, stored, from, to, (matrix) => sizesOf(wanted, matrix))
    : repack(device, stored, from, to);
  return { format: wanted, rows, width, sizeBytes: device.calls.weight_bytes(handle), handle } as Weight;
}

/** Larger matrices are repacked strip by strip: nothing of their size is held beside the result. */
const wholeBytes = 32 * 2 ** 20;

/** {@link Backend.packWeight} */
export function packWeight(
  device: NativeDevice,
  stored: StoredMatrix,
  format: WeightFormat,
): Iterable<PackedBytes> {
  const { storedFormat, wanted } = checkedFormats(stored, format);
  const [from, to] = [storedFormat, wanted].map((name) => nativeFormats.indexOf(name));
  return packedStrips(stored, (strip) => {
    const packed = packedBytes(device, strip, from, to, sizesOf(wanted, strip));
    checkPacked(wanted, packed, strip.rows, strip.width);
    return packed;
  });
}

function sizesOf(format: WeightFormat, { name, rows, width }: StoredMatrix): PackedSizes {
  const bytes = weightBytes(format, rows, width);
  const dataBytes = format === "fp8" ? checkedProduct([rows, width], name) : bytes;
  return { dataBytes, scaleBytes: bytes - dataBytes };
}

function checkedFormats(stored: StoredMatrix, format: "auto" | WeightFormat) {
  const { name, scale } = stored;
  if (scale && scale.dtype !== "F32") {
    throw new UnsupportedError(`Cannot load ${name}: scales in ${scale.dtype} found, F32 needed`);
  }
  return formatsOf(stored, format);
}

/** @returns the handle of a weight that is used as it lies in its file */
function mapped(device: NativeDevice, stored: StoredMatrix, format: number): number {
  if (stored.pieces) return decodedWeight(device, stored, format);
  const { file, offset, rows, width, scale } = stored;
  const { weight_create } = device.calls;
  try {
    const data = device.map(file);
    const scaleData = scale ? device.map(scale.file) : 0;
    return device.checked(weight_create(data, offset, scaleData, scale?.offset ?? 0, format, rows, width));
  } catch (error) {
    for (const part of scale ? [stored, scale] : [stored]) checkLength(part);
    throw error;
  }
}

/** @throws {CheckpointError} a file that held these bytes when its header was read, and does not any more */
function checkLength({ name, file, offset, sizeBytes }: StoredMatrix): void {
  const heldBytes = statusOf(file)?.sizeBytes ?? 0;
  if (heldBytes >= offset + sizeBytes) return;
  throw new CheckpointError(
    file,
    `it became shorter: tensor ${name} ends at byte ${offset + sizeBytes}, the file holds ${heldBytes}`,
  );
}

/** {@link Backend.loadVector} */
export function loadVector(device: NativeDevice, values: Float32Array): Vector {
  const handle = device.checked(device.calls.buffer_create(device.handle, values.byteLength));
  device.checked(device.calls.buffer_write(handle, 0, values, values.byteLength));
  return { length: values.length, handle } as Vector;
}

/** {@link Backend.bindExperts} */
export function bindExperts(device: NativeDevice, experts: readonly MlpWeights[]): Experts {
  if (experts.length === 0) throw new RangeError("bindExperts: no experts found, at least 1 needed");
  const nExperts = experts.length;
  const { rows: intermediate, width: hidden } = experts[0].gate;
  const { experts_create, experts_set } = device.calls;
  const handle = device.checked(experts_create(device.handle, nExperts, hidden, intermediate));
  for (let expert = 0; expert < nExperts; expert++) {
    const { gate, up, down } = experts[expert];
    device.checked(experts_set(handle, expert, handleOf(gate), handleOf(up), handleOf(down)));
  }
  return { nExperts, hidden, intermediate, handle } as Experts;
}
