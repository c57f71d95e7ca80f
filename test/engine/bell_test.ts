import assert from "node:assert/strict";
import { test } from "node:test";
import { Bell } from "../../src/engine/bell.ts";

test("a bell rings until as many messages were received as were sent", () => {
  const sender = new Bell();
  const receiver = new Bell(sender.shared);
  assert.equal(receiver.isRinging, false);
  sender.ring();
  sender.ring();
  assert.equal(receiver.isRinging, true);
  receiver.answer();
  assert.equal(receiver.isRinging, true);
  receiver.answer();
  assert.equal(receiver.isRinging, false);
});

test("a message that is received before the bell rings for it leaves it silent", () => {
  const sender = new Bell();
  const receiver = new Bell(sender.shared);
  receiver.answer();
  sender.ring();
  assert.equal(receiver.isRinging, false);
});
