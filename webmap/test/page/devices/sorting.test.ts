import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceStore } from "../../../src/devices/store.ts";
import type { Entry } from "../../../src/feed/entries.ts";
import { arranged, byText, isOrder, type Order } from "../../../src/page/devices/sorting.ts";

const entry = (name: string, number: string): Entry => ({ name, number, class: "", color: "", others: [] });

/** Four devices; what counts is name, number, speed and time. */
function race(): DeviceStore {
  const store = new DeviceStore();
  const rows: [string, number, number][] = [["a", 30, 4_000], ["b", 50, 1_000], ["c", 30, 3_000], ["d", 90, 2_000]];
  const values = rows.flatMap(([, speed, ts], device) => [device, 42, 21, ts, speed, 0]);
  store.apply({ newIds: rows.map(([id]) => id), values: new Float64Array(values), replaces: true }, 0);
  store.entries.add(new Map([["a", entry("Zoe", "2")], ["b", entry("ana", "10")], ["c", entry("", "1")]]), true);
  return store;
}

function listed(store: DeviceStore, order: Order, favourites: string[] = [], overdue: string[] = []): string {
  const isOverdue = (device: number): boolean => overdue.includes(store.ids[device] ?? "");
  const devices = arranged(store, byText(store, order), order, new Set(favourites), isOverdue);
  return devices.map((device) => store.ids[device]).join("");
}

test("devices are listed by number, name, speed or time", () => {
  const store = race();
  assert.equal(listed(store, "number"), "cabd");
  assert.equal(listed(store, "name"), "cbda");
  assert.equal(listed(store, "speed"), "dbca");
  assert.equal(listed(store, "seen"), "acdb");
});

test("the speed of a device that is silent counts for nothing", () => {
  assert.equal(listed(race(), "speed", [], ["d"]), "bcad");
});

test("favourites come first, in the same order", () => {
  const store = race();
  assert.equal(listed(store, "number", ["d", "b"]), "bdca");
  assert.equal(listed(store, "seen", ["d", "c"]), "cdab");
});

test("devices that the filter does not show are not listed", () => {
  const store = race();
  store.filter.ask("ana", undefined);
  assert.equal(listed(store, "number"), "b");
});

test("an order is one of four", () => {
  assert.deepEqual(["speed", "", undefined, "toString"].map(isOrder), [true, false, false, false]);
});
