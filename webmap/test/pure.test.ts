import assert from "node:assert/strict";
import { test } from "node:test";
import { unrollRing } from "../src/antimeridian.ts";
import { Backoff } from "../src/backoff.ts";
import { boundsOf } from "../src/bounds.ts";
import { clockAheadMs, parseConfig } from "../src/config.ts";
import { formatAge, formatCourse, formatPosition, formatSpeed, shortId, speedScale } from "../src/format.ts";
import { gridLines, gridStep } from "../src/grid.ts";
import { latitude, longitude, mercatorX, mercatorY } from "../src/mercator.ts";
import { speedColor } from "../src/palette.ts";
import { probe, retryAfterMs } from "../src/probe.ts";
import { describe } from "../src/state.ts";
import { clipMatrix, project } from "../src/view.ts";
import { rowForKey, visibleRows } from "../src/window.ts";

test("backoff waits between half and all of a doubling, bounded time", () => {
  const low = new Backoff({ firstMs: 1_000, maxMs: 8_000 }, () => 0);
  const high = new Backoff({ firstMs: 1_000, maxMs: 8_000 }, () => 1);
  assert.deepEqual([0, 0, 0, 0, 0].map(() => low.next()), [500, 1_000, 2_000, 4_000, 4_000]);
  assert.deepEqual([0, 0, 0, 0, 0].map(() => high.next()), [1_000, 2_000, 4_000, 8_000, 8_000]);
  high.reset();
  assert.equal(high.next(5_000), 6_000);
});

test("bounds hold every device that knows where it is", () => {
  const at = (lat: number, lon: number) => ({ deviceId: "", lat, lon, ts: 0, speed: 0, course: 0 });
  assert.equal(boundsOf([]), undefined);
  assert.deepEqual(boundsOf([at(42, 21), at(0, 0), at(41, 23), at(41.5, 22)]), [21, 41, 23, 42]);
  assert.deepEqual(boundsOf([at(0, 7)]), [7, 0, 7, 0]);
  assert.deepEqual(boundsOf([at(0, 0)]), [0, 0, 0, 0]);
});

test("a config is taken by its shape", () => {
  const config = parseConfig({ path: "/live", events: [{ id: "a", name: "A" }, { id: 7 }, { id: "" }, null] }, 0);
  assert.deepEqual(config?.events, [{ id: "a", name: "A" }, { id: "7", name: "7" }]);
  for (const body of [undefined, null, {}, { path: "live" }, { path: "//evil" }, { path: 5 }]) {
    assert.equal(parseConfig(body, 0), undefined);
  }
});

test("a clock that is off is noticed, a slow answer is not", () => {
  const nowMs = Date.parse("2026-05-02T12:00:00Z");
  assert.equal(clockAheadMs("Sat, 02 May 2026 12:01:00 GMT", nowMs), 60_000);
  assert.equal(clockAheadMs("Sat, 02 May 2026 11:59:58 GMT", nowMs), 0);
  assert.equal(clockAheadMs(null, nowMs), 0);
  assert.equal(clockAheadMs("nonsense", nowMs), 0);
});

test("the first telling HTTP answer explains a refusal", async () => {
  const answers = (...statuses: number[]) => (): Promise<Response> =>
    Promise.resolve(new Response(null, { status: statuses.shift() ?? 500, headers: { "Retry-After": "4" } }));
  assert.deepEqual(await probe(["a", "b"], answers(200, 401)), { kind: "signed-out" });
  assert.deepEqual(await probe(["a", "b"], answers(200, 403)), { kind: "forbidden" });
  assert.deepEqual(await probe(["a", "b"], answers(503)), { kind: "full", retryAfterMs: 4_000 });
  assert.deepEqual(await probe(["a", "b"], answers(200, 426)), { kind: "none" });
  assert.deepEqual(await probe(["a"], () => Promise.reject(new TypeError("network"))), { kind: "unreachable" });
});

test("Retry-After is seconds, within reason", () => {
  assert.deepEqual(["5", "100000", "-1", "Sat, 02 May 2026", "", null].map(retryAfterMs), [5_000, 300_000, 0, 0, 0, 0]);
});

test("numbers read as people expect", () => {
  assert.deepEqual([0, 4.26, 42.4, 1e300].map(formatSpeed), ["0 km/h", "4.3 km/h", "42 km/h", "> 9999 km/h"]);
  assert.deepEqual([-5, 1_999, 12_000, 180_000, 7.2e6, 2e8].map(formatAge), ["now", "now", "12 s", "3 min", "2 h", "2 d"]);
  assert.deepEqual([0, 44, 359.6].map(formatCourse), ["0° N", "44° NE", "0° N"]);
  assert.equal(formatPosition(-1.5, 21.25), "1.50000° S, 21.25000° E");
  assert.deepEqual(["356307042441013", "bus 7"].map(shortId), ["…441013", "bus 7"]);
  assert.deepEqual([0, 41, 1e9].map(speedScale), [20, 60, 480]);
});

test("a state's text counts its seconds", () => {
  assert.equal(describe({ name: "reconnecting", text: "Lost.", retryAt: 5_000 }, 1_500), "Lost. Trying again in 4 s.");
  assert.equal(describe({ name: "reconnecting", text: "Lost.", retryAt: 5_000 }, 6_000), "Lost. Trying again now.");
  assert.equal(describe({ name: "stale", text: "Quiet", since: 1_000 }, 31_900), "Quiet for 30 s.");
  assert.equal(describe({ name: "live", text: "Live" }, 0), "Live");
});

test("mercator there and back", () => {
  for (const [lat, lon] of [[0, 0], [41.99, 21.43], [-84, 179.9]] as const) {
    assert.ok(Math.abs(latitude(mercatorY(lat)) - lat) < 1e-10);
    assert.ok(Math.abs(longitude(mercatorX(lon)) - lon) < 1e-10);
  }
  assert.ok(Number.isFinite(mercatorY(90)) && Number.isFinite(mercatorY(-90)));
});

test("pixels and clip space agree for a turned view", () => {
  const view = { centerX: 0.5, centerY: 0.4, worldSize: 1e6, bearingRadians: 0.7, width: 800, height: 600 };
  const [dx, dy] = [0.0001, -0.0002];
  const [px, py] = project(view, view.centerX + dx, view.centerY + dy);
  const [a = 0, b = 0, c = 0, d = 0] = clipMatrix(view);
  assert.ok(Math.abs(px - (1 + a * dx + c * dy) * 400) < 1e-3);
  assert.ok(Math.abs(py - (1 - (b * dx + d * dy)) * 300) < 1e-3);
});

test("the grid has about as many lines as fit, at every zoom", () => {
  for (const width of [360, 90, 7, 0.3, 0.02]) {
    const lines = width / gridStep(width);
    assert.ok(lines >= 8 && lines <= 21, `${width}: ${lines}`);
  }
  const { features } = gridLines({ west: -400, south: -95, east: 400, north: 95 });
  assert.ok(features.length > 10 && features.length < 100);
});

test("colours start and end at the ends of the scale", () => {
  assert.equal(speedColor(0, 40, true), "rgb(59 168 240)");
  assert.equal(speedColor(40, 40, true), "rgb(255 97 92)");
  assert.equal(speedColor(4_000, 40, false), "rgb(214 26 69)");
});

test("a short list has all its rows, a long one those in view", () => {
  assert.deepEqual(visibleRows(60, 40, 0, 400), { first: 0, end: 60 });
  assert.deepEqual(visibleRows(10_000, 40, 4_000, 400), { first: 88, end: 122 });
  assert.deepEqual(visibleRows(10_000, 40, 0, 400), { first: 0, end: 22 });
  assert.deepEqual(visibleRows(300, 40, 1e9, 400), { first: 300, end: 300 });
});

test("arrow keys stay within the list", () => {
  assert.equal(rowForKey("ArrowDown", -1, 5, 3), 0);
  assert.equal(rowForKey("ArrowUp", 0, 5, 3), 0);
  assert.equal(rowForKey("PageDown", 3, 5, 3), 4);
  assert.equal(rowForKey("Home", 3, 5, 3), 0);
  assert.equal(rowForKey("End", 0, 5, 3), 4);
  assert.equal(rowForKey("x", 0, 5, 3), undefined);
  assert.equal(rowForKey("End", -1, 0, 3), undefined);
});

test("a ring across 180 degrees goes on, one around the pole is closed there, any other is left alone", () => {
  const across = [[170, 60], [-170, 60], [-170, 70], [170, 70], [170, 60]];
  assert.deepEqual(unrollRing(across), [[170, 60], [190, 60], [190, 70], [170, 70], [170, 60]]);
  const around = [[-170, -70], [-60, -70], [60, -70], [170, -70], [-170, -70]];
  assert.deepEqual(unrollRing(around).slice(4), [[190, -70], [190, -90], [-170, -90], [-170, -70]]);
  const plain = [[1, 1], [2, 1], [2, 2], [1, 1]];
  assert.deepEqual(unrollRing(plain), plain);
});
