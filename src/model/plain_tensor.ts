/**
 * Tensors of a checkpoint as plain numbers, for a folder of safetensors: what is in another program's format,
 * or in fp8, is decoded.
 * @module
 */
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { NewTensor } from "../checkpoint/write_safetensors.ts";
import { checkedProduct } from "../tensor/checked.ts";
import { dtypeBits } from "../tensor/dtype.ts";
import { encode, matrixRows, type PlainRows, stripsOf } from "./matrix_rows.ts";

/**
 * @param type of matrices; "auto" keeps F32, BF16 and F16, and makes BF16 of all else. Vectors and routers
 *   are never rounded
 * @throws {CheckpointError | UnsupportedError} for a tensor that is missing or no float
 */
export function plainTensor(checkpoint: Checkpoint, name: string, type: "auto" | PlainRows): NewTensor {
  const matrix = matrixRows(checkpoint, name);
  const { shape, rows, width } = matrix;
  const isSmall = shape.length < 2 || name.endsWith(".mlp.gate.weight");
  const dtype = isSmall ? matrix.type ?? "F32" : type === "auto" ? matrix.type ?? "BF16" : type;
  return {
    name,
    dtype,
    shape,
    sizeBytes: checkedProduct([rows, width, dtypeBits[dtype] / 8], name),
    *pieces() {
      for (const [row, count] of stripsOf(matrix)) yield encode(dtype, matrix.decode(row, count));
    },
  };
}
