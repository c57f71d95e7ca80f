import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bytes, listedOps } from "../../ffi/symbols.ts";
import { kernelLibrary } from "../backends.ts";
import { type AnyCalls, generator, opList, soundCalls } from "./sound_calls.ts";

type Op = typeof listedOps[number];

const library = await kernelLibrary();
if (library !== null) {
  const calls = library.calls as unknown as AnyCalls;

  const inTurn = [
    "linear",
    "rope",
    "append_latent",
    "latent_attention",
    "add_rms_norm",
    "route_experts",
  ] as const;
  for (const [seed, names] of [...listedOps.map((name) => [name]), inTurn].entries()) {
    test(`a list of ${names.join(", ")} leaves the bytes that the calls themselves leave`, () => {
      const called = bytesAfter(calls, seed, (ops) => {
        for (const name of names) assert.equal(calls[name](...ops[name]), 0, name);
      });
      const listed = bytesAfter(calls, seed, (ops) => {
        const list = opList(names.map((name) => [name, ops[name]]));
        assert.equal(calls.run_ops(list, list.byteLength), 0);
      });
      assert.deepEqual(listed, called);
      assert.notDeepEqual(bytesAfter(calls, seed, () => {}), called, "they leave something");
    });
  }

  test("an op that fails ends its list, with its own error", () => {
    let error = "";
    const afterOne = bytesAfter(calls, 1, ({ add }) => assert.equal(calls.add(...add), 0));
    const afterList = bytesAfter(calls, 1, ({ add }) => {
      const list = opList([["add", add], ["add", [add[0], add[1], -1, 16]], ["add", add]]);
      assert.equal(calls.run_ops(list, list.byteLength), -1);
      error = lastError(calls);
    });
    assert.deepEqual(afterList, afterOne);
    assert.equal(error, "add: x: -1 x 16 is no shape");
  });

  test("a list is refused where it is cut, names no op or has no size", () => {
    bytesAfter(calls, 1, ({ add, argmax }) => {
      const list = opList([["add", add]]);
      const refused = (bytes: Bytes, size: number, words: RegExp) => {
        assert.equal(calls.run_ops(bytes, size), -1);
        assert.match(lastError(calls), words);
      };
      refused(list, 16, /^run_ops: op 3 has 4 arguments, 3 are there$/);
      refused(list, 4, /^run_ops: op 3 has 4 arguments, 0 are there$/);
      refused(list, 6, /^run_ops: 6 bytes are no list of ops$/);
      refused(list, -4, /^run_ops: -4 bytes are no list of ops$/);
      refused(Int32Array.of(-1), 4, /^run_ops: there is no op -1$/);
      refused(Int32Array.of(listedOps.length), 4, /^run_ops: there is no op 14$/);
      assert.equal(calls.run_ops(list, 0), 0, "an empty one does nothing");
      // The last of the ops, with nothing behind it, where no i32 would lie.
      const last = opList([["argmax", argmax]]);
      const odd = new Uint8Array(last.byteLength + 1);
      odd.set(new Uint8Array(last.buffer), 1);
      assert.equal(calls.run_ops(odd.subarray(1), last.byteLength), 0);
    });
  });
}

/** @returns what lies in every buffer and in the cache after `act` on a device that only the seed decides */
function bytesAfter(
  calls: AnyCalls,
  seed: number,
  act: (ops: Readonly<Record<Op, number[]>>) => void,
): Uint8Array[] {
  const device = calls.device_open(calls.isa_best(), 2, 2 ** 20);
  const next = generator(seed);
  const { sound } = soundCalls(calls, device, next);
  const ops = sound as Record<Op, number[]>;
  const [x, y] = ops.add, [, , , factors] = ops.add_rms_norm, [z] = ops.argmax;
  const [chosen] = ops.route_experts, [data] = sound.handle_free as number[];
  const sizes = [[data, 65536], ...[x, y, z, factors].map((buffer) => [buffer, 4096])];
  for (const [buffer, size] of sizes) {
    const values = Float32Array.from({ length: size / 4 }, () => next() - 0.5);
    assert.equal(calls.buffer_write(buffer, 0, values, size), 0);
  }
  // The rows, experts and places that these name are there for every op.
  const ids = Int32Array.from({ length: 1024 }, (_, i) => i % 2);
  assert.equal(calls.buffer_write(chosen, 0, ids, 4096), 0);
  act(ops);
  const left = [...sizes, [chosen, 4096]].map(([buffer, size]) => {
    const bytes = new Uint8Array(size);
    assert.equal(calls.buffer_read(bytes, buffer, 0, size), 0);
    return bytes;
  });
  const [cache] = ops.append_latent;
  for (const block of [0, 1]) {
    const bytes = new Uint8Array(calls.cache_bytes(cache) / 2);
    assert.equal(calls.cache_read(bytes, cache, block, bytes.length), 0);
    left.push(bytes);
  }
  assert.equal(calls.device_close(device), 0);
  return left;
}

function lastError(calls: AnyCalls): string {
  const text = new Uint8Array(256);
  return new TextDecoder().decode(text.subarray(0, calls.last_error(text, text.length)));
}
