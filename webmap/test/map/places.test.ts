import assert from "node:assert/strict";
import { test } from "node:test";
import { besideMarker, choosePlace, type LabelPlace } from "../../src/map/places.ts";

const [right, left] = (["right", "left"] as const).map((side, at): LabelPlace => ({ side, x: [20, -60][at] ?? 0, y: 0, width: 40, height: 16 })) as [LabelPlace, LabelPlace];
const nothing = { taken: [], yielding: [], markers: [] };

test("a label leaves room for what stands beside the course, and does without where there is none", () => {
  assert.equal(choosePlace([right, left], nothing, false), right);
  assert.equal(choosePlace([right, left], { ...nothing, yielding: [right] }, false), left);
  assert.equal(choosePlace([right, left], { ...nothing, taken: [left], yielding: [right] }, false), right);
  assert.equal(choosePlace([right, left], { ...nothing, taken: [left, right] }, false), undefined);
  assert.equal(choosePlace([right, left], { ...nothing, taken: [left, right] }, true), right);
});

test("a label covers a marker only where it would cover a name else", () => {
  assert.equal(choosePlace([right, left], { ...nothing, markers: [right] }, false), left);
  assert.equal(choosePlace([right, left], { ...nothing, yielding: [left], markers: [right] }, false), right);
});

test("a label stays at its side while that is free, also when another one is free again or a marker passes", () => {
  assert.equal(choosePlace([right, left], { ...nothing, taken: [right] }, false, "right"), left);
  assert.equal(choosePlace([right, left], nothing, false, "left"), left);
  assert.equal(choosePlace([right, left], { ...nothing, markers: [left] }, false, "left"), left);
  assert.equal(choosePlace([right, left], { ...nothing, yielding: [left] }, false, "left"), right);
  assert.equal(choosePlace([right], nothing, false, "left"), right);
});

test("a label stands where it is not cut: right of its marker, else left, else below or above, and the one that must be shown slid as well", () => {
  const at = (px: number, py: number, width: number, viewWidth = 800, must = false) => {
    return besideMarker(px, py, width, { width: viewWidth, height: 600 }, must).map(({ x, y }) => [x, y]);
  };
  assert.deepEqual(at(100, 300, 50), [[114, 292], [36, 292], [75, 314], [75, 270]]);
  assert.deepEqual(at(100, 300, 40, 800, true).slice(4), [90, 70, 100, 60].flatMap((x) => [[x, 314], [x, 270]]));
  assert.deepEqual(at(20, 300, 40, 800, true).slice(3), [10, 20].flatMap((x) => [[x, 314], [x, 270]]));
  assert.deepEqual([at(740, 300, 50)[0], at(800, 300, 50)[0], at(100, 3, 50)[0], at(100, 598, 50)[0]], [[676, 292], [736, 292], [114, 0], [114, 584]]);
  assert.deepEqual(at(100, 595, 700, 700), [[0, 565]]);
  assert.deepEqual([at(160, 300, 180, 320), at(300, 300, 320, 320)], [[[70, 314], [70, 270]], [[0, 314], [0, 270]]]);
});
