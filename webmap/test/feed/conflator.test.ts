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

function crossed(conflator: Conflator): { devices: number[]; removed: readonly number[] | undefined; replaces: boolean } | undefined {
  const batch = conflator.take();
  if (batch === undefined) return undefined;
  const devices = [...batch.values].filter((_, at) => at % 6 === 0);
  return { devices, removed: batch.removed, replaces: batch.replaces };
}

test("a device that is removed crosses over, and comes back with its next position", () => {
  const conflator = new Conflator();
  conflator.add(at("a", 1));
  conflator.take();
  conflator.add(at("a", 2));
  conflator.remove("a");
  conflator.remove("unknown");
  assert.deepEqual(crossed(conflator), { devices: [], removed: [0], replaces: false });
  conflator.remove("a");
  conflator.add(at("a", 3));
  assert.deepEqual(crossed(conflator), { devices: [0], removed: [0], replaces: false });
  assert.equal(conflator.take(), undefined);
});

test("a snapshot replaces what is shown, also an empty one", () => {
  const conflator = new Conflator();
  conflator.add(at("a", 1));
  conflator.replace([]);
  assert.deepEqual(crossed(conflator), { devices: [], removed: [], replaces: true });
});

test("a snapshot in parts replaces what is shown when it is complete", () => {
  const conflator = new Conflator();
  for (const device of ["a", "b", "c", "d"]) conflator.add(at(device, 1));
  conflator.take();
  conflator.begin([at("b", 2)]);
  conflator.add(at("c", 2));
  conflator.add(at("d", 2));
  assert.deepEqual(crossed(conflator), { devices: [1, 2, 3], removed: [], replaces: false });
  conflator.remove("d");
  conflator.complete();
  assert.deepEqual(crossed(conflator), { devices: [1, 2], removed: [3], replaces: true });
  conflator.complete();
  assert.equal(conflator.take(), undefined);
});

test("who resumes keeps what is shown", () => {
  const conflator = new Conflator();
  conflator.begin([at("a", 1)]);
  conflator.resume([at("b", 2)]);
  conflator.complete();
  assert.deepEqual(crossed(conflator), { devices: [0, 1], removed: [], replaces: false });
});

test("beyond the bound new devices are ignored", () => {
  const conflator = new Conflator();
  for (let device = 0; device < MAX_DEVICES + 10; device++) conflator.add(at(`d${device}`, 1));
  assert.equal(conflator.take()?.newIds.length, MAX_DEVICES);
});
