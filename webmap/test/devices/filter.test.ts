import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceStore } from "../../src/devices/store.ts";

function race(...ids: string[]): DeviceStore {
  const store = new DeviceStore();
  const values = ids.flatMap((_, device) => [device, 42, 21, 1_000, 10, 0]);
  store.apply({ newIds: ids, values: new Float64Array(values), replaces: true }, 0);
  return store;
}

function shown(store: DeviceStore, selected?: number): string[] {
  return [...store.shown(selected)].map((device) => store.ids[device] ?? "");
}

test("a filter shows what has its text, whatever the case", () => {
  const store = race("A1", "A2", "B1");
  assert.deepEqual(shown(store), ["A1", "A2", "B1"]);
  store.filter.ask(" a", undefined);
  assert.deepEqual(shown(store), ["A1", "A2"]);
  store.filter.ask("", undefined);
  assert.deepEqual(shown(store), ["A1", "A2", "B1"]);
});

test("the selected device is shown whatever is asked for", () => {
  const store = race("A1", "A2", "B1");
  store.filter.ask("a1", undefined);
  assert.deepEqual(shown(store, 2), ["A1", "B1"]);
});

test("favourites are shown alone, and of these what has the text", () => {
  const store = race("A1", "A2", "B1");
  store.filter.ask("", new Set(["A2", "B1"]));
  assert.deepEqual(shown(store), ["A2", "B1"]);
  store.filter.ask("a", new Set(["A2", "B1"]));
  assert.deepEqual(shown(store), ["A2"]);
});

test("a filter finds a device by the name that it gets later, and by whatever index", () => {
  const store = race("A1", "B1");
  store.filter.ask("ana", undefined);
  assert.deepEqual(shown(store), []);
  store.entries.add(new Map([["B1", { name: "Ana", number: "", class: "", color: "", others: [] }]]), true);
  assert.deepEqual(shown(store), ["B1"]);
  store.clearDevices();
  store.apply({ newIds: ["B1", "A1"], values: new Float64Array([0, 42, 21, 1_000, 10, 0, 1, 42, 21, 1_000, 10, 0]), replaces: true }, 0);
  assert.deepEqual(shown(store), ["B1"]);
});
