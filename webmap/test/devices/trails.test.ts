import assert from "node:assert/strict";
import { test } from "node:test";
import { SLOT_FLOATS, Trails, pointsFor } from "../../src/devices/trails.ts";

test("a trail keeps the last points, oldest first, in double precision", () => {
  const trails = new Trails(256);
  const total = trails.points + 30;
  for (let step = 0; step < total; step++) trails.push(3, 0.5 + step * 1e-9, 0.25, step * 1_000);
  const points = trails.pointsOf(3);
  assert.equal(points.length, trails.points);
  assert.ok(Math.abs((points.at(-1)?.x ?? 0) - (0.5 + (total - 1) * 1e-9)) < 1e-13);
  assert.ok((points[0]?.x ?? 0) < (points.at(-1)?.x ?? 0));
  assert.deepEqual(trails.pointsOf(4), []);
});

test("points less than a second apart move the newest one", () => {
  const trails = new Trails(256);
  trails.push(0, 0.1, 0.1, 0);
  for (let timeMs = 1_000; timeMs < 2_000; timeMs += 100) trails.push(0, timeMs / 10_000, 0.1, timeMs);
  assert.equal(trails.pointsOf(0).length, 2);
});

test("the seam of the ring is one segment, like any other", () => {
  const trails = new Trails(256);
  for (let step = 0; step < trails.points * 2 + 5; step++) trails.push(0, step, 0, step * 1_000);
  let segments = 0;
  for (let slot = 0; slot < trails.points; slot++) {
    const from = trails.slots[slot * SLOT_FLOATS + 4] ?? 0;
    if (from > 0 && trails.slots[(slot + 1) * SLOT_FLOATS + 4] === from + 1) segments += 1;
  }
  assert.equal(segments, trails.points - 1);
});

test("a break leaves a gap in the sequence", () => {
  const trails = new Trails(256);
  trails.push(0, 0.1, 0.1, 0);
  const before = trails.heads[0] ?? 0;
  trails.push(0, 0.9, 0.9, 1, false);
  assert.equal(trails.heads[0], before + 2);
});

test("growing keeps the newest points, and memory stays bounded", () => {
  const trails = new Trails(256);
  for (let step = 0; step < 200; step++) trails.push(7, step / 1_000, 0.5, step * 1_000);
  const grown = trails.grown(16_384);
  assert.equal(grown.points, pointsFor(16_384));
  const newest = grown.pointsOf(7).map(({ x }) => Math.round(x * 1_000));
  assert.deepEqual(newest, Array.from({ length: grown.points }, (_, at) => 200 - grown.points + at));
  assert.ok(grown.slots.byteLength < 5_000_000);
});

test("a cleared trail is empty and can begin again", () => {
  const trails = new Trails(256);
  trails.push(1, 0.1, 0.1, 0);
  trails.clear(1);
  assert.deepEqual(trails.pointsOf(1), []);
  trails.push(1, 0.2, 0.2, 10);
  assert.equal(trails.pointsOf(1).length, 1);
});

test("older points go before the known ones, as far as there is room, with their gaps", () => {
  const trails = new Trails(256);
  for (const [order, x] of [500, 501].entries()) trails.push(0, x, 0, order * 1_000);
  trails.push(0, 510, 0, 2_000, false);
  const older = Array.from({ length: 200 }, (_, x) => ({ x, y: 0, connected: x !== 190 }));
  trails.prepend(0, older, true);
  const points = trails.pointsOf(0);
  assert.deepEqual(points.slice(-4).map(({ x, connected }) => [x, connected]), [[199, true], [500, true], [501, true], [510, false]]);
  assert.deepEqual(points.filter(({ connected }) => !connected).map(({ x }) => x), [190, 510]);
  assert.equal(points.length, trails.points - 2);
  trails.push(0, 511, 0, 3_000);
  assert.deepEqual(trails.pointsOf(0).at(-1), { x: 511, y: 0, connected: true });
});

test("growing keeps gaps", () => {
  const trails = new Trails(256);
  trails.push(0, 1, 0, 0);
  trails.push(0, 2, 0, 1_000, false);
  assert.deepEqual(trails.grown(512).pointsOf(0).map(({ connected }) => connected), [true, false]);
});

test("what is not joined to the known points has a gap before them", () => {
  const trails = new Trails(256);
  trails.push(0, 5, 0, 0);
  trails.prepend(0, [{ x: 1, y: 0, connected: true }, { x: 2, y: 0, connected: true }], false);
  assert.deepEqual(trails.pointsOf(0).map(({ x, connected }) => [x, connected]), [[1, true], [2, true], [5, false]]);
});
