import assert from "node:assert/strict";
import { test } from "node:test";
import { clockAheadMs, parseConfig } from "../../src/page/config.ts";

test("a config is taken by its shape", () => {
  const config = parseConfig({ path: "/live", events: [{ id: "a", name: "A" }, { id: 7 }, { id: "" }, null] }, 0);
  assert.deepEqual(config?.events, [{ id: "a", name: "A" }, { id: "7", name: "7" }]);
  for (const body of [undefined, null, {}, { path: "live" }, { path: "//evil" }, { path: 5 }]) {
    assert.equal(parseConfig(body, 0), undefined);
  }
});

test("a clock that is off is noticed, a slow answer is not", () => {
  const nowMs = Date.parse("2026-05-02T12:00:00Z");
  assert.equal(clockAheadMs("Sat, 02 May 2026 12:01:00 GMT", nowMs), 60_000);
  assert.equal(clockAheadMs("Sat, 02 May 2026 11:59:58 GMT", nowMs), 0);
  assert.equal(clockAheadMs(null, nowMs), 0);
  assert.equal(clockAheadMs("nonsense", nowMs), 0);
});
