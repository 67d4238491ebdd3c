import assert from "node:assert/strict";
import { test } from "node:test";
import { parseColor, parseEntries } from "../../src/feed/entries.ts";

const NOTHING = { name: "", number: "", class: "", color: "", others: [] };

test("an entry has a name, a number, a class, a colour, and what else the server tells", () => {
  const fields = { name: "Ana", number: 7, class: "E1", color: "#E4002B", team: "Vardar", born: 1990, none: "" };
  const others = [["team", "Vardar"], ["born", "1990"]];
  assert.deepEqual([...(parseEntries({ d1: fields }) ?? [])], [["d1", { name: "Ana", number: "7", class: "E1", color: "#e4002b", others }]]);
});

test("what is not as expected is left out", () => {
  const hostile = { name: { toString: 1 }, number: null, class: ["x"], color: "url(//evil)", extra: true };
  assert.deepEqual([...(parseEntries({ a: hostile, b: "text", c: null, __proto__: { d: {} } }) ?? [])], [["a", NOTHING]]);
  for (const value of [undefined, null, "text", 5, [{}]]) assert.equal(parseEntries(value), undefined);
});

test("texts and fields are bounded, and no character is cut in two", () => {
  const fields = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`f${n}`, "x"]));
  const entry = parseEntries({ a: { name: "🚴".repeat(500), ...fields } })?.get("a");
  assert.equal(entry?.name, "🚴".repeat(80));
  assert.equal(entry?.others.length, 15);
});

test("a colour has three, six or eight digits, or it is none", () => {
  const given = ["#f80", "FF8800", "#ff8800cc", "", "red", "#ff88", "#ff8800;x", "var(--bad)", "#ff8800\n"];
  assert.deepEqual(given.map(parseColor), ["#ff8800", "#ff8800", "#ff8800", "", "", "", "", "", ""]);
});
