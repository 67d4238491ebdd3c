import assert from "node:assert/strict";
import { test } from "node:test";
import { probe, retryAfterMs } from "../../src/feed/probe.ts";

test("the first telling HTTP answer explains a refusal", async () => {
  const answers = (...statuses: number[]) => (): Promise<Response> =>
    Promise.resolve(new Response(null, { status: statuses.shift() ?? 500, headers: { "Retry-After": "4" } }));
  assert.deepEqual(await probe(["a", "b"], answers(200, 401)), { kind: "signed-out" });
  assert.deepEqual(await probe(["a", "b"], answers(200, 403)), { kind: "forbidden" });
  assert.deepEqual(await probe(["a", "b"], answers(503)), { kind: "full", retryAfterMs: 4_000 });
  assert.deepEqual(await probe(["a", "b"], answers(200, 426)), { kind: "none" });
  assert.deepEqual(await probe(["a"], () => Promise.reject(new TypeError("network"))), { kind: "unreachable" });
});

test("Retry-After is seconds, within reason", () => {
  assert.deepEqual(["5", "100000", "-1", "Sat, 02 May 2026", "", null].map(retryAfterMs), [5_000, 300_000, 0, 0, 0, 0]);
});
