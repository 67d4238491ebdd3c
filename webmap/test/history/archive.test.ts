import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeServer } from "./fake.ts";

const SPAN = { fromMs: 0, toMs: 10_000, stepMs: 0 };
const FIXES = [{ deviceId: "a", ts: 1_000, lat: 1 }];

test("a span is asked for by event and times", async () => {
  const server = new FakeServer(FIXES);
  const past = await server.archive.read("7 & 8", { ...SPAN, stepMs: 2_000 }, new AbortController().signal);
  assert.deepEqual(past?.tracks.map(({ deviceId }) => deviceId), ["a"]);
  assert.deepEqual([...(server.asked[0]?.searchParams ?? [])], [["event", "7 & 8"], ["from", "0"], ["to", "10000"], ["step", "2000"]]);
});

test("a busy server is asked again, not before it says", async () => {
  const server = new FakeServer(FIXES);
  server.refusals = [{ status: 503, retryAfter: "5" }, { status: 429 }];
  assert.notEqual(await server.archive.read("7", SPAN, new AbortController().signal), undefined);
  assert.deepEqual(server.waits, [5_000, 2_000]);
});

test("what is refused, or fails again and again, is given up", async () => {
  for (const [status, asked] of [[403, 1], [404, 1], [401, 1], [503, 4]] as const) {
    const server = new FakeServer(FIXES);
    server.refusals = Array.from({ length: 4 }, () => ({ status }));
    assert.equal(await server.archive.read("7", SPAN, new AbortController().signal), undefined);
    assert.equal(server.asked.length, asked);
  }
});

test("what was aborted is not handed over", async () => {
  const server = new FakeServer(FIXES);
  const controller = new AbortController();
  const reading = server.archive.read("7", SPAN, controller.signal);
  controller.abort();
  assert.equal(await reading, undefined);
});
