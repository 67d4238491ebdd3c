import assert from "node:assert/strict";
import { test } from "node:test";
import { clipMatrix, project } from "../../../src/map/gl/view.ts";

test("pixels and clip space agree for a turned view", () => {
  const view = { centerX: 0.5, centerY: 0.4, worldSize: 1e6, bearingRadians: 0.7, width: 800, height: 600 };
  const [dx, dy] = [0.0001, -0.0002];
  const [px, py] = project(view, view.centerX + dx, view.centerY + dy);
  const [a = 0, b = 0, c = 0, d = 0] = clipMatrix(view);
  assert.ok(Math.abs(px - (1 + a * dx + c * dy) * 400) < 1e-3);
  assert.ok(Math.abs(py - (1 - (b * dx + d * dy)) * 300) < 1e-3);
});

test("what is beyond 180° of longitude is beside what is before it", () => {
  const view = { centerX: 0.9999, centerY: 0.5, worldSize: 1e6, bearingRadians: 0, width: 800, height: 600 };
  assert.deepEqual([0.9999, 0.0001, 0.9997].map((x) => Math.round(project(view, x, 0.5)[0])), [400, 600, 200]);
});
