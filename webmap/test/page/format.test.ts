import assert from "node:assert/strict";
import { test } from "node:test";
import { formatCourse, formatPosition, formatSpeed, formatTime } from "../../src/page/format.ts";

test("numbers read as people expect", () => {
  assert.deepEqual([0, 4.26, 42.4, 1e300].map(formatSpeed), ["0 km/h", "4.3 km/h", "42 km/h", "> 9999 km/h"]);
  assert.deepEqual([0, 44, 359.6].map(formatCourse), ["0° N", "44° NE", "0° N"]);
  assert.equal(formatPosition(-1.5, 21.25), "1.50000° S, 21.25000° E");
});

test("a time of another day has its date", () => {
  const noon = new Date(2026, 4, 2, 12, 0, 7).getTime();
  assert.ok(formatTime(noon, noon + 3_600_000).includes("00:07"));
  assert.ok(!formatTime(noon, noon + 3_600_000).includes(","));
  assert.match(formatTime(noon, noon + 86_400_000), /2.*, .*00:07/);
});
