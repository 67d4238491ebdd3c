import assert from "node:assert/strict";
import { test } from "node:test";
import { Archive } from "../../src/history/archive.ts";
import { Chunks } from "../../src/history/chunks.ts";

test("what is no longer wanted is given up, what still is goes on", () => {
  const signals: (AbortSignal | null | undefined)[] = [];
  const archive = new Archive("http://server/live/history", (_, { signal }) => {
    signals.push(signal);
    return new Promise(() => undefined);
  });
  const chunks = new Chunks(archive, "7");
  for (const fromMs of [0, 0, 120_000]) chunks.fetch({ fromMs, toMs: fromMs + 120_000, stepMs: 0 });
  assert.deepEqual(signals.map((signal) => signal?.aborted), [true, false]);
  chunks.stop();
  assert.equal(signals[1]?.aborted, true);
});
