import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Mending, persist, type TilePlace } from "../../../src/map/base/mending.ts";

const TILE: TilePlace = { key: "a", z: 1, x: 0, y: 1 };

test("a tile is asked for again, a few times, later each time, and afresh when the server is back", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const asked: (readonly TilePlace[])[] = [];
  const mending = new Mending((tiles) => asked.push(tiles));
  mending.failed(TILE);
  assert.equal(asked.length, 0);
  for (let tries = 1; tries <= 10; tries++) {
    mock.timers.tick(30_000);
    mending.failed(TILE);
  }
  assert.deepEqual(asked, Array(6).fill([TILE]));
  mending.askAll();
  assert.equal(asked.length, 7);
  mending.failed(TILE);
  mock.timers.tick(1_000);
  assert.equal(asked.length, 8);
  mending.failed(TILE);
  mending.came(TILE.key);
  mending.askAll();
  mock.timers.tick(30_000);
  assert.equal(asked.length, 8);
  mock.timers.reset();
});

test("what cannot be loaded is tried again, and given up in the end", async () => {
  const waits: number[] = [];
  const wait = async (ms: number) => waits.push(ms);
  let left = 2;
  assert.equal(await persist(async () => (left-- > 0 ? Promise.reject(new Error("busy")) : "came"), wait), "came");
  assert.equal(waits.length, 2);
  await assert.rejects(persist(() => Promise.reject(new Error("broken")), wait), /broken/);
  assert.equal(waits.length, 2 + 5);
});
