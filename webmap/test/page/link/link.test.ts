import assert from "node:assert/strict";
import { test } from "node:test";
import { isEmbedded } from "../../../src/page/link/embedding.ts";
import { formatLink, parseLink, type Link } from "../../../src/page/link/link.ts";

const NOTHING: Link = {
  eventId: undefined,
  deviceId: undefined,
  following: false,
  filter: "",
  order: undefined,
  view: undefined,
  timeMs: undefined,
};

test("a link opens what was shown", () => {
  const link: Link = {
    eventId: "7",
    deviceId: "356307042441013",
    following: true,
    filter: "Ana & Bo #1, ü",
    order: "speed",
    view: { lat: 41.99731, lon: -21.428, zoom: 13.25, bearing: -45 },
    timeMs: Date.UTC(2026, 4, 2, 12),
  };
  assert.deepEqual(parseLink(`#${formatLink(link)}`), link);
  assert.deepEqual(parseLink(formatLink(NOTHING)), NOTHING);
});

test("a link is short and can be read", () => {
  const view = { lat: 41.997312345, lon: 21.428, zoom: 13.2, bearing: 0.2 };
  const link = { ...NOTHING, eventId: "7", view, timeMs: Date.UTC(2026, 4, 2, 12, 0, 0, 400) };
  assert.equal(formatLink(link), "event=7&view=41.99731,21.42800,13.20&time=2026-05-02T12:00:00Z");
});

test("a view with many decimals is taken, and written down rounded", () => {
  const { view } = parseLink("view=41.99731234567891234,-21.428000000000000114,13.2000000000000011,45.000000000001");
  assert.equal(formatLink({ ...NOTHING, view }), "view=41.99731,-21.42800,13.20,45");
});

test("what somebody else wrote is taken only where it can be", () => {
  for (const hostile of [
    "view=NaN,1,2", "view=1,2", "view=1,2,3,4,5", "view=86,0,3", "view=0,181,3", "view=0,0,23", "view=0,0,-1", "view=1e2,0,3", "view=,,",
    "view=0,0,3,361", "view=Infinity,0,3", "time=yesterday", "time=2026-13-02T12:00:00Z", "time=99999999999999", "time=2026-05-02",
    "time=2026-02-31T12:00:00Z", "time=2026-02-29T12:00:00Z", "time=2026-02-28T24:00:00Z", "time=2026-02-31T24:00:00Z",
    "follow=1", "follow=yes", "device=", `device=${"x".repeat(201)}`, `filter=${"x".repeat(201)}`, `event=${"x".repeat(201)}`, "%E0%A4%A", "devices",
    "=&==&#&%", "__proto__=1&constructor=2",
  ]) {
    assert.deepEqual(parseLink(`#${hostile}`), NOTHING, hostile);
  }
  assert.equal(parseLink("#event=7&event=8").eventId, "7");
  assert.equal(parseLink("#device=<img src=x>").deviceId, "<img src=x>");
});

test("a map alone is asked for by one word", () => {
  assert.deepEqual(["?embed=1", "?a=b&embed=1", "", "?embed=0", "?embed"].map(isEmbedded), [true, true, false, false, false]);
});
