import assert from "node:assert/strict";
import { test } from "node:test";
import { rowForKey, visibleRows } from "../../../src/page/devices/rows.ts";

test("a short list has all its rows, a long one those in view", () => {
  assert.deepEqual(visibleRows(60, 40, 0, 400), { first: 0, end: 60 });
  assert.deepEqual(visibleRows(10_000, 40, 4_000, 400), { first: 88, end: 122 });
  assert.deepEqual(visibleRows(10_000, 40, 0, 400), { first: 0, end: 22 });
  assert.deepEqual(visibleRows(300, 40, 1e9, 400), { first: 300, end: 300 });
});

test("arrow keys stay within the list", () => {
  assert.equal(rowForKey("ArrowDown", -1, 5, 3), 0);
  assert.equal(rowForKey("ArrowUp", 0, 5, 3), 0);
  assert.equal(rowForKey("PageDown", 3, 5, 3), 4);
  assert.equal(rowForKey("Home", 3, 5, 3), 0);
  assert.equal(rowForKey("End", 0, 5, 3), 4);
  assert.equal(rowForKey("x", 0, 5, 3), undefined);
  assert.equal(rowForKey("End", -1, 0, 3), undefined);
});
