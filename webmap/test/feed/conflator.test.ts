import assert from "node:assert/strict";
import { test } from "node:test";
import { Conflator, MAX_DEVICES } from "../../src/feed/conflator.ts";
import type { Position } from "../../src/feed/protocol.ts";

function at(deviceId: string, ts: number): Position {
  return { deviceId, lat: 42, lon: 21, ts, speed: 10, course: 90 };
}

test("only the newest position per device crosses over", () => {
  const conflator = new Conflator();
  for (let ts = 1; ts <= 5; ts++) conflator.add(at("a", ts));
  assert.equal(conflator.take()?.values.length, 6);
  assert.equal(conflator.take(), undefined);
});

test("beyond the bound new devices are ignored", () => {
  const conflator = new Conflator();
  for (let device = 0; device < MAX_DEVICES + 10; device++) conflator.add(at(`d${device}`, 1));
  assert.equal(conflator.take()?.newIds.length, MAX_DEVICES);
});
