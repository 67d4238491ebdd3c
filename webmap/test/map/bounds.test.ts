import assert from "node:assert/strict";
import { test } from "node:test";
import { boundsOf } from "../../src/map/bounds.ts";

test("bounds hold every device that knows where it is", () => {
  const at = (lat: number, lon: number) => ({ deviceId: "", lat, lon, ts: 0, speed: 0, course: 0 });
  assert.equal(boundsOf([]), undefined);
  assert.deepEqual(boundsOf([at(42, 21), at(0, 0), at(41, 23), at(41.5, 22)]), [21, 41, 23, 42]);
  assert.deepEqual(boundsOf([at(0, 7)]), [7, 0, 7, 0]);
  assert.deepEqual(boundsOf([at(0, 0)]), [0, 0, 0, 0]);
});

test("a course counts, and more than positions at 0/0", () => {
  const course = { lines: [{ name: "", parts: [[[20, 41], [22, 42]]] as [number, number][][] }], marks: [] };
  const at = (lat: number, lon: number) => ({ deviceId: "d", lat, lon, ts: 0, speed: 0, course: 0 });
  assert.deepEqual(boundsOf([], course), [20, 41, 22, 42]);
  assert.deepEqual(boundsOf([at(40, 21), at(0, 0)], course), [20, 40, 22, 42]);
  assert.deepEqual(boundsOf([at(0, 0)], course), [20, 41, 22, 42]);
});
