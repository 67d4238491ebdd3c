import assert from "node:assert/strict";
import { test } from "node:test";
import { uncovered } from "../../src/map/cover.ts";

const box = (left: number, top: number, right: number, bottom: number) => ({ left, top, right, bottom });

test("what lies on the map leaves its largest part", () => {
  const upright = box(0, 100, 390, 520);
  const [panel, sheet] = [box(10, 110, 334, 220), box(0, 504, 390, 844)];
  assert.deepEqual(uncovered(upright, [panel, sheet]), box(0, 220, 390, 504));
  const sideways = box(250, 48, 740, 360);
  assert.deepEqual(uncovered(sideways, [box(258, 56, 464, 300), box(0, 48, 250, 360)]), box(464, 48, 740, 360));
  assert.deepEqual(uncovered(sideways, [box(0, 0, 0, 0), box(0, 0, 740, 48)]), sideways);
});
