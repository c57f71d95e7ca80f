/**
 * A caller's token ids, as they cross the Worker border.
 * @module
 */
import { RequestError } from "../errors.ts";
import { shown } from "./option_checks.ts";

/**
 * @returns a copy; whether the ids are of the vocabulary is checked where the model is
 * @throws {RequestError} a value is no i32: copying alone would silently make one of it
 */
export function tokenIds(values: ArrayLike<number>): Int32Array<ArrayBuffer> {
  const ids = new Int32Array(values.length);
  for (let i = 0; i < ids.length; i++) {
    const id: unknown = values[i];
    if (typeof id !== "number" || id !== (id | 0)) {
      const problem = `${shown(id)} found, whole numbers needed as token ids`;
      throw new RequestError(`Cannot read the prompt: ${problem}`, { param: "prompt" });
    }
    ids[i] = id;
  }
  return ids;
}
