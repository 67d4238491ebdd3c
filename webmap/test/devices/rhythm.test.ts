import assert from "node:assert/strict";
import { test } from "node:test";
import { glideMs, nextRhythm, overdueAfterMs } from "../../src/devices/rhythm.ts";

function rhythmOf(...gapsMs: number[]): number {
  return gapsMs.reduce(nextRhythm, 0);
}

function repeated(gapMs: number, times: number): number[] {
  return Array.from({ length: times }, () => gapMs);
}

test("a device that reports evenly is known by its second position", () => {
  for (const gapMs of [1_000, 10_000, 120_000]) {
    assert.equal(rhythmOf(gapMs), gapMs);
    assert.ok(Math.abs(rhythmOf(...repeated(gapMs, 50)) - gapMs) < 1e-6);
  }
});

test("what is no gap between two reports changes nothing", () => {
  for (const gapMs of [0, -5_000, 300_001, 86_400_000]) assert.equal(rhythmOf(1_000, gapMs), 1_000);
  assert.equal(rhythmOf(86_400_000), 0);
});

test("one silence is not a new rhythm, several are", () => {
  assert.ok(rhythmOf(1_000, 1_000, 120_000) <= 2_500);
  assert.ok(rhythmOf(1_000, ...repeated(60_000, 8)) > 30_000);
  assert.ok(rhythmOf(60_000, ...repeated(1_000, 8)) < 2_000);
});

test("positions that come in packets have the rhythm of the packets", () => {
  const packets = Array.from({ length: 20 }, () => [...repeated(200, 4), 10_000]).flat();
  assert.ok(overdueAfterMs(rhythmOf(...packets)) >= 15_000);
});

test("overdue is three intervals, but neither the first seconds nor unknown rhythms count", () => {
  assert.deepEqual([0, 1_000, 5_000, 20_000].map(overdueAfterMs), [60_000, 15_000, 15_000, 60_000]);
});

test("a marker takes about one interval, and jumps after what was no interval", () => {
  assert.deepEqual([1_000, 5_000].map((ms) => Math.round(glideMs(ms, ms))), [1_100, 5_500]);
  assert.equal(glideMs(300_000, 300_000), 60_000);
  assert.ok(glideMs(1_000, 2_000) < 2_000);
  for (const [rhythm, gap] of [[1_000, 15_001], [1_000, -1], [0, 15_001], [20_000, 60_001]] as const) assert.equal(glideMs(rhythm, gap), 0);
  assert.ok(glideMs(0, 10_000) > 0);
});
