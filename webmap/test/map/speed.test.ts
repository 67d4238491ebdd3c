import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceStore } from "../../src/devices/store.ts";
import { SpeedScale, speedColor, speedScale } from "../../src/map/speed.ts";

test("colours start and end at the ends of the scale", () => {
  assert.equal(speedColor(0, 40, true), "rgb(59 168 240)");
  assert.equal(speedColor(40, 40, true), "rgb(255 97 92)");
  assert.equal(speedColor(4_000, 40, false), "rgb(214 26 69)");
});

test("a scale ends at the next usual value", () => {
  assert.deepEqual([0, 41, 1e9].map(speedScale), [20, 60, 480]);
});

test("a scale grows with the fastest device that is not stale, and shrinks only when reset", () => {
  const [store, scale] = [new DeviceStore(), new SpeedScale()];
  const ends = [0, 60_000, 60_001].map((nowMs, batch) => {
    store.apply({ newIds: [`d${batch}`], values: Float64Array.of(batch, 42, 21, 0, [50, 90, 400][batch] ?? 0, 0), replaces: false }, 0);
    scale.grow(store, nowMs);
    return scale.end;
  });
  assert.deepEqual(ends, [60, 120, 120]);
  scale.reset();
  assert.equal(scale.end, 20);
});
