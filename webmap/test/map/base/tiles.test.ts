import assert from "node:assert/strict";
import { test } from "node:test";
import { tileLayers } from "../../../src/map/base/tiles.ts";

test("nothing but tiles has to be loaded for the layers", () => {
  for (const dark of [true, false]) {
    const layers = tileLayers(dark);
    const text = JSON.stringify(layers);
    assert.doesNotMatch(text, /icon-image|fill-pattern|line-pattern|Noto/);
    assert.match(text, /"text-font":\["sans-serif"\]/);
    assert.equal(new Set(layers.map(({ id }) => id)).size, layers.length);
    assert.ok(layers.every(({ id }) => id.startsWith("tiles-")));
  }
});

test("outlines are not covered where there are no tiles", () => {
  assert.deepEqual(tileLayers(true).filter(({ type }) => type === "background"), []);
});

test("dark and light have the same layers in other colours", () => {
  const [dark, light] = [tileLayers(true), tileLayers(false)];
  assert.deepEqual(dark.map(({ id }) => id), light.map(({ id }) => id));
  assert.notDeepEqual(dark, light);
});
