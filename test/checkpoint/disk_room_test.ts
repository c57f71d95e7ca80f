import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { checkRoom } from "../../src/checkpoint/disk_room.ts";
import { writeShards } from "../../src/new_model.ts";
import { withPlace } from "../with_place.ts";

const tooMuch = 2 ** 52;

test("what finds no room on a disk is refused with what it needs, anything else is not", () => {
  checkRoom(tmpdir(), 0);
  checkRoom("/no/such/folder", tooMuch); // of which the system says nothing
  assert.throws(
    () => checkRoom(tmpdir(), tooMuch),
    /^Error: Cannot write in .*: 4503599628 MB are needed, \d+ MB are free/,
  );
});

test("a model that finds no room is refused before anything is written", async () => {
  await withPlace(async (place) => {
    const huge = {
      name: "model.layers.0.mlp.up_proj.weight",
      dtype: "U8",
      shape: [tooMuch],
      sizeBytes: tooMuch,
      pieces: () => assert.fail("it is made"),
    } as const;
    await assert.rejects(writeShards(place, [huge], () => {}), /MB are needed/);
    assert.deepEqual(readdirSync(place), []);
  });
});
