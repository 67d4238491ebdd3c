import assert from "node:assert/strict";
import { test } from "node:test";
import { Conflator } from "../../src/feed/conflator.ts";
import { DeviceStore } from "../../src/devices/store.ts";
import type { Position } from "../../src/feed/protocol.ts";

function at(deviceId: string, ts: number, lat = 42, lon = 21): Position {
  return { deviceId, lat, lon, ts, speed: 10, course: 90 };
}

class Pair {
  readonly conflator = new Conflator();
  readonly store = new DeviceStore();

  flush(timeMs = 0): void {
    const batch = this.conflator.take();
    if (batch !== undefined) this.store.apply(batch, timeMs);
  }

  get ids(): string[] {
    return [...this.store.devices()].map((device) => this.store.position(device).deviceId);
  }
}

test("a snapshot replaces, frames after it update, an empty one leaves nothing", () => {
  const pair = new Pair();
  pair.conflator.replace([at("a", 5), at("b", 5)]);
  pair.flush();
  pair.conflator.replace([at("b", 6), at("c", 6)]);
  pair.conflator.add(at("d", 7));
  pair.flush();
  assert.deepEqual(pair.ids, ["b", "c", "d"]);
  assert.equal(pair.store.count, 3);
  pair.conflator.replace([]);
  pair.flush();
  assert.equal(pair.store.count, 0);
});

test("a device that is removed leaves with its trail, and comes back without it", () => {
  const pair = new Pair();
  for (let ts = 1; ts <= 3; ts++) {
    pair.conflator.replace([at("a", ts * 2000, 42 + ts / 1000), at("b", ts)]);
    pair.flush(ts * 2000);
  }
  const { membership } = pair.store;
  pair.conflator.remove("a");
  pair.flush();
  assert.deepEqual([pair.ids, pair.store.count, pair.store.indexOf("a")], [["b"], 1, undefined]);
  assert.notEqual(pair.store.membership, membership);
  pair.conflator.remove("a");
  pair.flush();
  assert.equal(pair.store.count, 1);
  pair.conflator.add(at("a", 9000));
  pair.flush(9000);
  assert.deepEqual(pair.ids, ["a", "b"]);
  assert.equal(pair.store.trails.pointsOf(0).length, 1);
});

test("a device that comes back keeps its place", () => {
  const pair = new Pair();
  pair.conflator.replace([at("a", 1), at("b", 1)]);
  pair.flush();
  pair.conflator.replace([at("b", 2)]);
  pair.flush();
  assert.equal(pair.store.indexOf("a"), undefined);
  pair.conflator.add(at("a", 3));
  pair.flush();
  assert.deepEqual(pair.ids, ["a", "b"]);
});

test("the order of frames decides, whatever their times", () => {
  const pair = new Pair();
  pair.conflator.add(at("a", 10, 42));
  pair.flush();
  pair.conflator.add(at("a", 9, 43));
  pair.flush();
  assert.equal(pair.store.position(0).lat, 43);
  pair.conflator.replace([at("a", 8, 44)]);
  pair.flush();
  assert.equal(pair.store.position(0).lat, 44);
});

test("a marker glides from where it was shown to where it is, in about one interval", () => {
  const pair = new Pair();
  pair.conflator.add(at("a", 0, 0, 0));
  pair.flush(0);
  pair.conflator.add(at("a", 10_000, 0, 0.0001));
  pair.flush(10_000);
  const span = 0.0001 / 360;
  for (const [timeMs, share] of [[10_000, 0], [15_500, 0.5], [21_000, 1], [90_000, 1]] as const) {
    const [x] = pair.store.shownAt(0, timeMs);
    assert.ok(Math.abs(x - (0.5 + span * share)) < 1e-12, `${timeMs} ms: ${x}`);
  }
});

test("a marker whose device reports evenly neither stops nor jumps, and is never ahead of what was reported", () => {
  const pair = new Pair();
  const steps: number[] = [];
  let before = 0;
  for (let timeMs = 0; timeMs <= 60_000; timeMs += 100) {
    if (timeMs % 1_000 === 0) pair.conflator.add(at("a", timeMs, 0, timeMs * 1e-7));
    pair.flush(timeMs);
    const [x] = pair.store.shownAt(0, timeMs);
    assert.ok(x <= (pair.store.columns.x[0] ?? 0) + 1e-15);
    steps.push(x - before);
    before = x;
  }
  const even = (100 * 1e-7) / 360;
  for (const step of steps.slice(-200)) assert.ok(Math.abs(step / even - 1) < 0.01, `${step / even}`);
});

test("in a replay a marker glides as much faster as time passes", () => {
  const pair = new Pair();
  pair.store.pace = 8;
  for (const ts of [0, 8_000]) {
    pair.conflator.add(at("a", ts, 0, ts * 1e-8));
    pair.flush(ts / 8);
  }
  assert.ok(Math.abs((pair.store.columns.glideMs[0] ?? 0) - 1_100) < 1e-9);
});

test("a marker jumps after a long silence, over a distance that no speed explains, and without motion wanted", () => {
  for (const [glides, ts, lon] of [[true, 60_000, 0.0001], [false, 1_000, 0.0001], [true, 1_000, 5]] as const) {
    const pair = new Pair();
    pair.store.glides = glides;
    pair.conflator.add(at("a", 0, 0, 0));
    pair.flush(0);
    pair.conflator.add(at("a", ts, 0, lon));
    pair.flush(ts);
    assert.equal(pair.store.shownAt(0, ts)[0], pair.store.columns.x[0]);
  }
});

test("when motion is no longer wanted, gliding markers are where they were reported", () => {
  const pair = new Pair();
  for (const ts of [0, 1_000]) {
    pair.conflator.add(at("a", ts, 0, ts * 1e-7));
    pair.flush(ts);
  }
  assert.notEqual(pair.store.shownAt(0, 1_000)[0], pair.store.columns.x[0]);
  pair.store.glides = false;
  assert.equal(pair.store.shownAt(0, 1_000)[0], pair.store.columns.x[0]);
});

test("a device is overdue by its own rhythm, which its past tells too", () => {
  const pair = new Pair();
  for (const id of ["often", "rarely", "once", "past"]) pair.conflator.add(at(id, 100_000));
  pair.flush();
  pair.conflator.add(at("often", 101_000));
  pair.conflator.add(at("rarely", 140_000));
  pair.flush();
  pair.store.reachBack("past", Float64Array.of(98_000, 99_000), Float64Array.of(42, 42), Float64Array.of(21, 21));
  assert.deepEqual([0, 1, 2, 3].map((device) => pair.store.overdueAfterMs(device)), [15_000, 120_000, 60_000, 15_000]);
  assert.deepEqual([0, 1, 2, 3].map((device) => pair.store.isOverdue(device, 120_000)), [true, false, false, true]);
});

test("ids that look like object members are only names", () => {
  const pair = new Pair();
  for (const id of ["__proto__", "constructor", "<b>x</b>"]) pair.conflator.add(at(id, 1));
  pair.flush();
  assert.deepEqual(pair.ids, ["__proto__", "constructor", "<b>x</b>"]);
});

test("thousands of devices grow the store and keep what was there", () => {
  const pair = new Pair();
  for (let device = 0; device < 5_000; device++) {
    pair.conflator.add(at(`d${device}`, device));
    if (device % 700 === 0) pair.flush(device);
  }
  pair.flush(9_999);
  assert.equal(pair.store.count, 5_000);
  assert.deepEqual(pair.store.position(0), at("d0", 0));
  assert.deepEqual(pair.store.position(4_999), at("d4999", 4_999));
});

test("a device glides across 180° of longitude, and its trail goes on there", () => {
  const pair = new Pair();
  for (const [order, lon] of [179.999, 179.9995, -180, -179.9995].entries()) {
    pair.conflator.add(at("a", order * 2_000, -17, lon));
    pair.flush(order * 2_000);
  }
  const [from = 0, to = 0] = [6_001, 60_000].map((timeMs) => pair.store.shownAt(0, timeMs)[0]);
  assert.ok(from < to && to - from < 1e-5, `${from} to ${to}`);
  assert.ok(pair.store.trails.pointsOf(0).every(({ connected }) => connected));
});
