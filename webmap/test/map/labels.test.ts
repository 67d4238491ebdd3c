import assert from "node:assert/strict";
import { test } from "node:test";
import { shortId } from "../../src/map/labels.ts";

test("a long id is known by its end", () => {
  assert.deepEqual(["356307042441013", "bus 7"].map(shortId), ["…441013", "bus 7"]);
});
