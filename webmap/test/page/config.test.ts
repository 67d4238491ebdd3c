import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../../src/page/config.ts";

test("a config is taken by its shape", () => {
  const config = parseConfig({ path: "/live", events: [{ id: "a", name: "A" }, { id: 7 }, { id: "" }, null], now: 5 });
  assert.deepEqual(config?.events, [{ id: "a", name: "A" }, { id: "7", name: "7" }]);
  assert.equal(config?.nowMs, 5);
  for (const body of [undefined, null, {}, { path: "live", now: 5 }, { path: "//evil", now: 5 }, { path: 5, now: 5 }, { path: "/live" }]) {
    assert.equal(parseConfig(body), undefined);
  }
});
