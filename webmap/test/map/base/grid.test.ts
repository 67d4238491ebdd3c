import assert from "node:assert/strict";
import { test } from "node:test";
import { gridLines, gridStep } from "../../../src/map/base/grid.ts";

test("the grid has about as many lines as fit, at every zoom", () => {
  for (const width of [360, 90, 7, 0.3, 0.02]) {
    const lines = width / gridStep(width);
    assert.ok(lines >= 8 && lines <= 21, `${width}: ${lines}`);
  }
  const { features } = gridLines({ west: -400, south: -95, east: 400, north: 95 });
  assert.ok(features.length > 10 && features.length < 100);
});
