import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePast } from "../../src/history/past.ts";

const TRACK = { deviceId: "a", ts: [1_000, 2_000], lat: [1, 2], lon: [3, 4], speed: [5, 6], course: [7, 8] };

test("an answer becomes columns of numbers", () => {
  const past = parsePast({ event: "7", from: 0, to: 3_000, step: 0, devices: [TRACK], next: 3_000 });
  assert.equal(past?.toMs, 3_000);
  const [track] = past?.tracks ?? [];
  assert.equal(track?.deviceId, "a");
  assert.deepEqual([...(track?.ts ?? [])], [1_000, 2_000]);
  assert.deepEqual([...(track?.course ?? [])], [7, 8]);
});

test("whatever else comes is not an answer", () => {
  const broken = [{ ...TRACK, lat: [1] }, { ...TRACK, lon: [1, "x"] }, { ...TRACK, ts: undefined }, { ...TRACK, deviceId: 7 }, null];
  for (const devices of [...broken.map((track) => [track]), undefined, {}]) {
    assert.equal(parsePast({ to: 3_000, devices }), undefined);
  }
  for (const body of [undefined, null, 7, "x", [], { devices: [] }]) assert.equal(parsePast(body), undefined);
});
