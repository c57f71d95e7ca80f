import assert from "node:assert/strict";
import { test } from "node:test";
import { TokenOutbox } from "../../src/engine/token_outbox.ts";

const bare = (token: number) => ({ token, logprob: NaN, top: [] });

/** An outbox whose sequences have all begun, emptied at 0 ms. */
function outboxOf(...ids: number[]): TokenOutbox {
  const outbox = new TokenOutbox();
  outbox.add(ids.map((id) => ({ id, event: bare(0) })));
  outbox.take(0);
  return outbox;
}

test("a sequence's first token is due at once, whoever else waits", () => {
  const outbox = outboxOf(1);
  outbox.add([{ id: 1, event: bare(5) }]);
  assert.equal(outbox.isDue(0.1), false);
  outbox.add([{ id: 2, event: bare(6) }]);
  assert.equal(outbox.isDue(0.1), true);
  assert.deepEqual(outbox.take(0.1), new Map([[1, [5]], [2, [6]]]));
  outbox.add([{ id: 2, event: bare(7) }]);
  assert.equal(outbox.isDue(0.2), false);
});

test("tokens wait the longer the more sequences there are to tell, up to a bound", () => {
  for (const [nSequences, ms] of [[1, 5], [3, 15], [8, 40], [100, 40]]) {
    const ids = Array.from({ length: nSequences }, (_, id) => id);
    const outbox = outboxOf(...ids);
    outbox.add(ids.map((id) => ({ id, event: bare(id) })));
    assert.deepEqual([outbox.isDue(ms - 0.01), outbox.isDue(ms)], [false, true]);
  }
});

test("a token that took as long as it may wait is due at once", () => {
  const outbox = outboxOf(1);
  outbox.add([{ id: 1, event: bare(5) }]);
  assert.equal(outbox.isDue(40), true);
});

test("tokens are taken once, by sequence and in order, bare where nothing else was asked for", () => {
  const outbox = new TokenOutbox();
  assert.equal(outbox.isDue(100), false);
  assert.equal(outbox.take(0), null);
  const told = { token: 8, logprob: -1, top: [[8, -1]] as const };
  outbox.add([{ id: 1, event: bare(5) }, { id: 2, event: told }, { id: 1, event: bare(6) }]);
  outbox.add([{ id: 1, event: bare(7) }]);
  assert.deepEqual(outbox.take(0), new Map<number, unknown>([[1, [5, 6, 7]], [2, [told]]]));
  assert.equal(outbox.take(0), null);
});
