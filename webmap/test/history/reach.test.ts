import assert from "node:assert/strict";
import { test } from "node:test";
import { latitude } from "../../src/devices/mercator.ts";
import { DeviceStore } from "../../src/devices/store.ts";
import { reachBack, trailSpan } from "../../src/history/reach.ts";
import { FakeServer, type Fix } from "./fake.ts";

const NOW = 1_777_723_200_500;

function fixes(deviceId: string, everyMs: number, count: number): Fix[] {
  return Array.from({ length: count }, (_, at) => ({ deviceId, ts: NOW - (count - at) * everyMs, lat: at / 1_000 }));
}

function shown(...newest: readonly Fix[]): DeviceStore {
  const store = new DeviceStore();
  const values = Float64Array.from(newest.flatMap(({ ts, lat }, device) => [device, lat, 0, ts, 0, 0]));
  store.apply({ newIds: newest.map(({ deviceId }) => deviceId), values, replaces: true }, 0);
  return store;
}

function trail(store: DeviceStore, device: number): number[] {
  return store.trails.pointsOf(device).map(({ y }) => Math.round(latitude(y) * 1_000));
}

test("a trail of a point a second, and one of rare points, end where the device is", async () => {
  const [often, rarely] = [fixes("often", 1_000, 500), fixes("rarely", 60_000, 100)];
  const store = shown(...[often, rarely].map((all) => all.at(-1) as Fix));
  const server = new FakeServer([...often, ...rarely], 40);
  await reachBack(server.archive, "7", store, NOW, new AbortController().signal);
  assert.deepEqual(trail(store, 0), Array.from({ length: store.trails.points }, (_, at) => 500 - store.trails.points + at));
  assert.deepEqual(trail(store, 1).slice(-59), Array.from({ length: 59 }, (_, at) => 41 + at));
  assert.ok(trail(store, 1).length <= 61);
});

test("what passed live meanwhile stays, and nothing comes twice", async () => {
  const all = fixes("a", 1_000, 50);
  const store = shown(all[40] as Fix);
  for (const { ts, lat } of all.slice(41)) {
    store.apply({ newIds: [], values: Float64Array.of(0, lat, 0, ts, 0, 0), replaces: false }, ts);
  }
  await reachBack(new FakeServer(all).archive, "7", store, NOW, new AbortController().signal);
  const points = trail(store, 0);
  assert.deepEqual(points.slice(0, 41), Array.from({ length: 41 }, (_, at) => at));
  assert.deepEqual(points, [...points].sort((a, b) => a - b));
});

test("a lost fix is a gap", async () => {
  const far = { deviceId: "a", ts: NOW - 20_000, lat: 40 };
  const store = shown({ deviceId: "a", ts: NOW - 1_000, lat: 0 });
  const server = new FakeServer([far, { ...far, ts: NOW - 10_000, lat: 0 }]);
  await reachBack(server.archive, "7", store, NOW, new AbortController().signal);
  assert.deepEqual(store.trails.pointsOf(0).slice(1).map(({ connected }) => connected), [false, true]);
});

test("nothing changes once another event was opened", async () => {
  const store = shown(...fixes("a", 1_000, 2).slice(1));
  const controller = new AbortController();
  const reaching = reachBack(new FakeServer(fixes("a", 1_000, 2)).archive, "7", store, NOW, controller.signal);
  controller.abort();
  await reaching;
  assert.equal(store.trails.pointsOf(0).length, 1);
});

test("a span ends after the present, and is the same for whoever comes within ten seconds", () => {
  const spans = [0, 3_000, 9_499].map((laterMs) => trailSpan(96, NOW + laterMs));
  assert.deepEqual(spans, [spans[0], spans[0], spans[0]]);
  assert.ok((spans[0]?.toMs ?? 0) > NOW + 9_499);
});
