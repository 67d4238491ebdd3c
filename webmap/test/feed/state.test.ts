import assert from "node:assert/strict";
import { test } from "node:test";
import { describe } from "../../src/feed/state.ts";

test("a state's text counts its seconds", () => {
  assert.equal(describe({ name: "reconnecting", text: "Lost.", retryAt: 5_000 }, 1_500, false), "Lost. Trying again in 4 s.");
  assert.equal(describe({ name: "reconnecting", text: "Lost.", retryAt: 5_000 }, 6_000, false), "Lost. Trying again now.");
  assert.equal(describe({ name: "stale", text: "Quiet", since: 1_000 }, 31_900, false), "Quiet for 30 s.");
  assert.equal(describe({ name: "live", text: "Live" }, 0, false), "Live");
});

test("a replay is called so whether or not positions come, and what keeps them from coming is still said", () => {
  assert.equal(describe({ name: "live", text: "Live" }, 0, true), "Replay");
  assert.equal(describe({ name: "stale", text: "Quiet", since: 1_000 }, 31_900, true), "Replay");
  assert.equal(describe({ name: "reconnecting", text: "Lost.", retryAt: 5_000 }, 1_500, true), "Lost. Trying again in 4 s.");
});
