import assert from "node:assert/strict";
import { test } from "node:test";
import { latitude, longitude, mercatorX, mercatorY } from "../../src/devices/mercator.ts";

test("mercator there and back", () => {
  for (const [lat, lon] of [[0, 0], [41.99, 21.43], [-84, 179.9]] as const) {
    assert.ok(Math.abs(latitude(mercatorY(lat)) - lat) < 1e-10);
    assert.ok(Math.abs(longitude(mercatorX(lon)) - lon) < 1e-10);
  }
  assert.ok(Number.isFinite(mercatorY(90)) && Number.isFinite(mercatorY(-90)));
});
