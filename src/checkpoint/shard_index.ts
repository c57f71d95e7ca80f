/**
 * The index of a checkpoint in several files: which tensor is in which of them.
 * @module
 */
import { CheckpointError } from "../errors.ts";
import { JsonScanner, JsonSyntaxError, shown } from "../json_scanner.ts";
import { isPlainName } from "./file.ts";

/** Longest index that is read: that of Kimi K2 with three tensors a matrix has some 27 MB. */
export const mostIndexBytes = 50_000_000;

/**
 * @param path of the index, for messages
 * @param ending of the names of shards
 * @returns the shard of each tensor
 * @throws {CheckpointError}
 */
export function parseIndex(bytes: Uint8Array, path: string, ending: string): Map<string, string> {
  const shardOf = new Map<string, string>();
  const shards = new Map<string, string>(); // one string a shard, not one a tensor
  try {
    const scanner = new JsonScanner(bytes);
    scanner.object("the index", (key) => {
      // metadata.total_size is not compared: transformers does not either, and published ones are wrong.
      if (key !== "weight_map") return scanner.skip(key);
      scanner.object(key, (tensor) => {
        const shard = scanner.string("a shard");
        if (!shards.has(shard)) shards.set(shard, shard);
        shardOf.set(tensor, shards.get(shard)!);
      });
    });
    scanner.finish();
  } catch (error) {
    if (error instanceof JsonSyntaxError) throw new CheckpointError(path, error.message);
    throw error;
  }
  if (shardOf.size === 0) throw new CheckpointError(path, "its weight_map names no tensor");
  for (const shard of shards.keys()) {
    if (!isPlainName(shard) || !shard.endsWith(ending)) {
      const [tensor] = [...shardOf].find(([, other]) => other === shard)!;
      throw new CheckpointError(
        path,
        `tensor ${shown(tensor)} is in ${shown(shard)}, a ${ending} file of the folder itself is needed`,
      );
    }
  }
  return shardOf;
}
