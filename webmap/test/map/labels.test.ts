import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceStore } from "../../src/devices/store.ts";
import { besideMarker, labelOf, shortId } from "../../src/map/labels.ts";

test("a long id is known by its end", () => {
  assert.deepEqual(["356307042441013", "bus 7"].map(shortId), ["…441013", "bus 7"]);
});

test("a label is number, colour and name of the entry, else the device's id", () => {
  const store = new DeviceStore();
  const nobody = { name: "", number: "", class: "", color: "", others: [] };
  store.apply({ newIds: ["a", "b", "c", "356307042441013"], values: new Float64Array(0), replaces: false }, 0);
  store.entries.add(
    new Map([
      ["a", { ...nobody, name: "Ana", number: "7", color: "#e4002b" }],
      ["b", { ...nobody, name: "Bartholomew Featherstonehaugh-Smythe" }],
      ["c", { ...nobody, number: "9" }],
      ["356307042441013", { ...nobody, color: "#e4002b" }],
    ]),
    true,
  );
  assert.deepEqual([0, 1, 2, 3].map((device) => labelOf(store, device, 0)), [
    { number: "7", color: "#e4002b", name: "Ana", age: "" },
    { number: "", color: "", name: "Bartholomew Featherston…", age: "" },
    { number: "9", color: "", name: "", age: "" },
    { number: "", color: "#e4002b", name: "…441013", age: "" },
  ]);
  assert.equal(labelOf(store, 0, 75_900).age, "1 min 15 s");
});

test("a label stands where it is not cut: right of its marker, else left, else below or above", () => {
  const at = (px: number, py: number, width: number, viewWidth = 800) => {
    const { x, y } = besideMarker(px, py, width, { width: viewWidth, height: 600 });
    return [x, y];
  };
  assert.deepEqual([at(100, 300, 50), at(740, 300, 50), at(800, 300, 50)], [[114, 292], [676, 292], [736, 292]]);
  assert.deepEqual([at(160, 300, 180, 320), at(100, 595, 700, 700), at(300, 300, 320, 320)], [[70, 314], [0, 565], [0, 314]]);
  assert.deepEqual([at(100, 3, 50), at(100, 598, 50)], [[114, 0], [114, 584]]);
});
