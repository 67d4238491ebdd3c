import assert from "node:assert/strict";
import { test } from "node:test";
import { Entries, inkOn } from "../../src/devices/entries.ts";
import type { Entry } from "../../src/feed/entries.ts";

const entry = (fields: Partial<Entry>): Entry => ({ name: "", number: "", class: "", color: "", others: [], ...fields });

test("a device is called by its name, else by its number, else by its id", () => {
  const entries = new Entries();
  entries.add(new Map([["a", entry({ name: "Ana", number: "7" })], ["b", entry({ number: "8" })], ["c", entry({ class: "E1" })]]), true);
  assert.deepEqual(["a", "b", "c", "d"].map((id) => entries.nameOf(id)), ["Ana", "8", "c", "d"]);
  assert.deepEqual(["a", "b", "c", "d"].map((id) => entries.orderOf(id)), ["7 Ana", "8 b", "c", "d"]);
});

test("a device is found by anything that is known of it", () => {
  const entries = new Entries();
  entries.add(new Map([["A1", entry({ name: "Ana", number: "7", class: "Juniors", others: [["team", "Vardar"]] })]]), true);
  for (const wanted of ["ana", "7", "junior", "vardar", "a1"]) assert.ok(entries.searchable("A1").includes(wanted), wanted);
  assert.equal(entries.searchable("B2"), "b2");
});

test("entries are replaced or added, and the version tells", () => {
  const entries = new Entries();
  const versions = new Set([entries.version]);
  entries.add(new Map([["a", entry({ name: "Ana" })]]), true);
  versions.add(entries.version);
  entries.add(new Map([["b", entry({ name: "Bo" })]]), false);
  versions.add(entries.version);
  assert.deepEqual(["a", "b"].map((id) => entries.nameOf(id)), ["Ana", "Bo"]);
  entries.add(new Map([["b", entry({ name: "Bob" })]]), true);
  versions.add(entries.version);
  assert.deepEqual(["a", "b"].map((id) => entries.nameOf(id)), ["a", "Bob"]);
  entries.clear();
  versions.add(entries.version);
  assert.equal(entries.nameOf("b"), "b");
  assert.equal(versions.size, 5);
});

test("a number is black on light colours and white on dark ones", () => {
  assert.deepEqual(["#ffffff", "#fad440", "#e4002b", "#0a101c"].map(inkOn), ["#000000", "#000000", "#ffffff", "#ffffff"]);
});
