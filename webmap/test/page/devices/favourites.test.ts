import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFavourites, withFavourites, type ByEvent } from "../../../src/page/devices/favourites.ts";

const NONE: ByEvent = new Map();

test("favourites are remembered by event", () => {
  const all = withFavourites(withFavourites(NONE, "7", ["a", "b"]), "8", ["b"]);
  const read = parseFavourites(JSON.stringify([...all]));
  assert.deepEqual([...read], [["7", ["a", "b"]], ["8", ["b"]]]);
  assert.deepEqual([...withFavourites(read, "7", [])], [["8", ["b"]]]);
});

test("favourites of old events, and more than somebody can mark, are forgotten", () => {
  let all = NONE;
  for (let event = 0; event < 25; event++) all = withFavourites(all, String(event), [String(event)]);
  assert.deepEqual([...all.keys()], Array.from({ length: 20 }, (_, at) => String(at + 5)));
  all = withFavourites(all, "5", Array.from({ length: 600 }, (_, at) => String(at)));
  assert.equal([...all.keys()].at(-1), "5");
  assert.equal(all.get("5")?.length, 500);
  assert.equal(all.get("5")?.at(-1), "599");
});

test("whatever else is stored there is no favourite", () => {
  for (const text of [undefined, "", "{", "null", "7", '{"7":["a"]}', '[["7"]]', "[[7,[]]]"]) {
    assert.deepEqual([...parseFavourites(text)].flat(), [], text);
  }
  assert.deepEqual([...parseFavourites('[["7",["a",1,null]]]')], [["7", ["a"]]]);
});
