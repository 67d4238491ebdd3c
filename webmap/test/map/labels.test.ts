import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceStore } from "../../src/devices/store.ts";
import { besideMarker, choosePlace, labelOf, shortId, textOf } from "../../src/map/labels.ts";
import type { Box } from "../../src/map/writing.ts";

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
      ["c", { ...nobody, number: "9".repeat(80) }],
      ["356307042441013", { ...nobody, color: "#e4002b" }],
    ]),
    true,
  );
  assert.deepEqual([0, 1, 2, 3].map((device) => labelOf(store, device, 0)), [
    { number: "7", color: "#e4002b", name: "Ana", age: "" },
    { number: "", color: "", name: "Bartholomew Featherston…", age: "" },
    { number: "99999999999…", color: "", name: "", age: "" },
    { number: "", color: "#e4002b", name: "…441013", age: "" },
  ]);
  assert.equal(labelOf(store, 0, 75_900).age, "1 min 15 s");
});

test("a name that is read from the right leaves its age where it is", () => {
  const label = { number: "", color: "", name: "נועה", age: "5 min" };
  assert.deepEqual([textOf(label), textOf({ ...label, age: "" }), textOf({ ...label, name: "" })], ["\u2068נועה\u2069 · 5 min", "\u2068נועה\u2069", "5 min"]);
});

test("a label leaves room for what stands beside the course, and does without where there is none", () => {
  const [right, left] = [20, -60].map((x) => ({ x, y: 0, width: 40, height: 16 })) as [Box, Box];
  assert.equal(choosePlace([right, left], [], [], false), right);
  assert.equal(choosePlace([right, left], [], [right], false), left);
  assert.equal(choosePlace([right, left], [left], [right], false), right);
  assert.equal(choosePlace([right, left], [left, right], [], false), undefined);
  assert.equal(choosePlace([right, left], [left, right], [], true), right);
});

test("a label stands where it is not cut: right of its marker, else left, else below or above", () => {
  const at = (px: number, py: number, width: number, viewWidth = 800) => {
    return besideMarker(px, py, width, { width: viewWidth, height: 600 }).map(({ x, y }) => [x, y]);
  };
  assert.deepEqual(at(100, 300, 50), [[114, 292], [36, 292], [75, 314], [75, 270]]);
  assert.deepEqual([at(740, 300, 50)[0], at(800, 300, 50)[0], at(100, 3, 50)[0], at(100, 598, 50)[0]], [[676, 292], [736, 292], [114, 0], [114, 584]]);
  assert.deepEqual([at(160, 300, 180, 320), at(100, 595, 700, 700)], [[[70, 314], [70, 270]], [[0, 565]]]);
  assert.deepEqual(at(300, 300, 320, 320), [[0, 314], [0, 270]]);
});
