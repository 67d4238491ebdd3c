import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../src/feed/backoff.ts";

test("backoff waits between half and all of a doubling, bounded time", () => {
  const low = new Backoff({ firstMs: 1_000, maxMs: 8_000 }, () => 0);
  const high = new Backoff({ firstMs: 1_000, maxMs: 8_000 }, () => 1);
  assert.deepEqual([0, 0, 0, 0, 0].map(() => low.next()), [500, 1_000, 2_000, 4_000, 4_000]);
  assert.deepEqual([0, 0, 0, 0, 0].map(() => high.next()), [1_000, 2_000, 4_000, 8_000, 8_000]);
  high.reset();
  assert.equal(high.next(5_000), 6_000);
});
