import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceStore } from "../../src/devices/store.ts";
import { labelOf, shortId, textOf } from "../../src/map/labels.ts";

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
