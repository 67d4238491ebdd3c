import assert from "node:assert/strict";
import { test } from "node:test";
import { unrollRing } from "../../../src/map/base/antimeridian.ts";

test("a ring across 180 degrees goes on, one around the pole is closed there, any other is left alone", () => {
  const across = [[170, 60], [-170, 60], [-170, 70], [170, 70], [170, 60]];
  assert.deepEqual(unrollRing(across), [[170, 60], [190, 60], [190, 70], [170, 70], [170, 60]]);
  const around = [[-170, -70], [-60, -70], [60, -70], [170, -70], [-170, -70]];
  assert.deepEqual(unrollRing(around).slice(4), [[190, -70], [190, -90], [-170, -90], [-170, -70]]);
  const plain = [[1, 1], [2, 1], [2, 2], [1, 1]];
  assert.deepEqual(unrollRing(plain), plain);
});
