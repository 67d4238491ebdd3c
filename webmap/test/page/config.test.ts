import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../../src/page/config.ts";

test("a config is taken by its shape", () => {
  const config = parseConfig({ path: "/live", events: [{ id: "a", name: "A" }, { id: 7 }, { id: "" }, null], now: 5 });
  assert.deepEqual(config?.events, [{ id: "a", name: "A" }, { id: "7", name: "7" }]);
  assert.equal(config?.nowMs, 5);
  assert.equal(config?.basemap, undefined);
  assert.equal(config?.viewer, undefined);
  assert.equal(parseConfig({ path: "/live", now: 5, viewer: "0a1b" })?.viewer, "0a1b");
  assert.equal(parseConfig({ path: "/live", now: 5, basemap: "0a1b" })?.basemap, "0a1b");
  assert.equal(parseConfig({ path: "/live", now: 5, basemap: "../x" })?.basemap, undefined);
  for (const body of [undefined, null, {}, { path: "live", now: 5 }, { path: "//evil", now: 5 }, { path: 5, now: 5 }, { path: "/live" }]) {
    assert.equal(parseConfig(body), undefined);
  }
});
