import assert from "node:assert/strict";
import { test } from "node:test";
import type { AddProtocolAction } from "maplibre-gl";
import { openTiles, tileLayers } from "../../../src/map/base/tiles.ts";

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

/** An archive of one tile, with nothing compressed. */
function archive(tile: string): Uint8Array<ArrayBuffer> {
  const parts = [new Uint8Array(127), Uint8Array.of(1, 0, 1, tile.length, 1), new TextEncoder().encode("{}"), new TextEncoder().encode(tile)];
  const header = new DataView(parts[0]!.buffer);
  new Uint8Array(header.buffer).set(new TextEncoder().encode("PMTiles\u0003"));
  const places = [127, 5, 132, 2, 0, 0, 134, tile.length];
  for (const [at, place] of places.entries()) header.setBigUint64(8 + 8 * at, BigInt(place), true);
  [1, 1, 1].forEach((value, at) => header.setUint8(97 + at, value));
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

test("after a file was replaced, tiles come even if the new one could not be read at first", async (context) => {
  let served = "old";
  let isCut = false;
  context.mock.method(globalThis, "fetch", async (_: string, { headers }: { headers: Headers }) => {
    const [first = 0, last = 0] = (headers.get("range") ?? "").match(/\d+/g)?.map(Number) ?? [];
    if (isCut && first === 0) throw new TypeError("Failed to fetch");
    return new Response(archive(served).slice(first, last + 1), { status: 206, headers: { ETag: `"${served}"` } });
  });
  let load: AddProtocolAction | undefined;
  await openTiles("http://server/x.pmtiles", (_, action) => (load = action));
  const tile = async (): Promise<string> => {
    const loaded = await load?.({ url: "tiles://0/0/0" }, new AbortController());
    return new TextDecoder().decode(loaded?.data as ArrayBuffer);
  };
  assert.equal(await tile(), "old");
  [served, isCut] = ["new", true];
  await assert.rejects(tile);
  isCut = false;
  assert.equal(await tile(), "new");
});
