import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFrame, parsePosition } from "../../src/feed/protocol.ts";

const GOOD = { deviceId: "d1", lat: 41.99, lon: 21.43, ts: 1_700_000_000_000 };

test("speed and course that were left out are zero", () => {
  assert.deepEqual(parsePosition(GOOD), { ...GOOD, speed: 0, course: 0 });
});

test("a position with one bad field is refused", () => {
  const bad: readonly [string, unknown][] = [
    ["deviceId", ""], ["deviceId", 5], ["deviceId", "x".repeat(129)], ["lat", 90.1], ["lat", "41"], ["lat", null],
    ["lon", -181], ["lon", Infinity], ["ts", -1], ["ts", 9e15], ["ts", undefined], ["speed", -1], ["speed", "5"],
    ["speed", Infinity], ["course", NaN], ["course", {}],
  ];
  for (const [field, value] of bad) {
    assert.equal(parsePosition({ ...GOOD, [field]: value }), undefined, `${field} = ${String(value)}`);
  }
});

test("a course is brought into 0 to 360", () => {
  assert.equal(parsePosition({ ...GOOD, course: -90 })?.course, 270);
  assert.equal(parsePosition({ ...GOOD, course: 720 })?.course, 0);
});

test("text that is not a frame of the server gives nothing", () => {
  const frames = ['{"type":"toString"}', '{"type":"position"}', '{"type":"positions","topic":"event:a"}', '{"type":5}'];
  for (const text of ["", "{", "null", "[]", "5", ...frames, new ArrayBuffer(2)]) {
    assert.equal(parseFrame(text), undefined);
  }
});

test("positions carry their topic and cursor, and keep the good ones in order", () => {
  const positions = [GOOD, { ...GOOD, lat: 99 }, { ...GOOD, speed: 5, course: 6 }];
  const frame = { type: "positions", topic: "event:a", cursor: "1-0", positions };
  assert.deepEqual(parseFrame(JSON.stringify(frame)), {
    type: "positions",
    topic: "event:a",
    cursor: "1-0",
    positions: [{ ...GOOD, speed: 0, course: 0 }, { ...GOOD, speed: 5, course: 6 }],
  });
});

test("a position that comes alone is read like a batch of one", () => {
  const frame = { type: "position", topic: "event:a", cursor: "1-0", ...GOOD, speed: 5, course: 6 };
  assert.deepEqual(parseFrame(JSON.stringify(frame)), {
    type: "positions",
    topic: "event:a",
    cursor: "1-0",
    positions: [{ ...GOOD, speed: 5, course: 6 }],
  });
});

test("a snapshot keeps its good positions", () => {
  const frame = { type: "subscribed", topic: "event:a", snapshot: [GOOD, { ...GOOD, lat: 99 }, null, 5], cursor: 7 };
  assert.deepEqual(parseFrame(JSON.stringify(frame)), {
    type: "subscribed",
    topic: "event:a",
    resumed: false,
    partial: false,
    snapshot: [{ ...GOOD, speed: 0, course: 0 }],
    cursor: undefined,
    entries: undefined,
  });
});

test("entries come with a snapshot, or alone with their topic", () => {
  const ana = { name: "Ana", number: "", class: "", color: "", others: [] };
  const entries = { d1: { name: "Ana" } };
  const subscribed = parseFrame(JSON.stringify({ type: "subscribed", topic: "event:a", snapshot: [], entries }));
  assert.deepEqual(subscribed?.type === "subscribed" && subscribed.entries, new Map([["d1", ana]]));
  assert.deepEqual(parseFrame(JSON.stringify({ type: "entries", topic: "event:a", entries })), {
    type: "entries",
    topic: "event:a",
    entries: new Map([["d1", ana]]),
  });
  for (const frame of [{ type: "entries", topic: "event:a" }, { type: "entries", entries }]) {
    assert.equal(parseFrame(JSON.stringify(frame)), undefined);
  }
});

test("a device that is removed has an id, and its event", () => {
  const frame = { type: "removed", topic: "event:a", deviceId: "d1" };
  assert.deepEqual(parseFrame(JSON.stringify(frame)), frame);
  for (const wrong of [{ ...frame, topic: 7 }, { type: "removed", topic: "event:a" }]) {
    assert.equal(parseFrame(JSON.stringify(wrong)), undefined);
  }
});

test("an error keeps code, topic, id and where to sign in", () => {
  assert.deepEqual(parseFrame('{"type":"error","code":"forbidden","topic":"event:a","id":3,"signInUrl":"/login"}'), {
    type: "error",
    code: "forbidden",
    topic: "event:a",
    message: "",
    id: 3,
    signInUrl: "/login",
  });
});
