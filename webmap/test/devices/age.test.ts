import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAge } from "../../src/devices/age.ts";

test("an age is true to the second for an hour", () => {
  const ages = [-5, 1_999, 2_000, 12_999, 60_000, 185_000, 3_599_999, 7.2e6, 2e8].map(formatAge);
  assert.deepEqual(ages, ["now", "now", "2 s", "12 s", "1 min 0 s", "3 min 5 s", "59 min 59 s", "2 h", "2 d"]);
});
