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

test("across 180° of longitude the bounds are those of the race, not of the world", () => {
  const at = (lat: number, lon: number) => ({ deviceId: "d", lat, lon, ts: 0, speed: 0, course: 0 });
  assert.deepEqual(boundsOf([at(-17, 179.5), at(-18, -179.5), at(-16, 178)]), [178, -18, 180.5, -16]);
  const course = { lines: [{ name: "", parts: [[[179, -17], [180, -17]], [[-180, -17], [-179, -17]]] as [number, number][][] }], marks: [] };
  assert.deepEqual(boundsOf([], course), [179, -17, 181, -17]);
  assert.deepEqual(boundsOf([at(52, 13), at(40, -74), at(35, 139)]), [-74, 35, 139, 52]);
  assert.deepEqual(boundsOf([at(35, 139), at(40, -122)]), [139, 35, 238, 40]);
});
