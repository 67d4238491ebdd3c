import assert from "node:assert/strict";
import { test } from "node:test";
import type { Course } from "../../src/course/course.ts";
import { courseData, marksOf } from "../../src/map/course.ts";

test("kilometres come with the zoom at which they are worth showing, marks with their words", () => {
  const place: [number, number] = [0, 0];
  const marks = (["start", "finish", "start-finish", "point"] as const).map((kind) => ({ kind, name: "", place }));
  const lines = [{ name: "", parts: [[[0, 0], [1, 0]]] as [number, number][][] }];
  const course: Course = { lines, marks: [...marks, { kind: "start", name: "Mass start", place }] };
  const shown = marksOf(course).map(({ text, zoom }) => [text, zoom]);
  assert.deepEqual(shown.slice(0, 5), [["1 km", 11], ["2 km", 11], ["3 km", 11], ["4 km", 11], ["5 km", 9]]);
  assert.deepEqual(shown.filter(([text]) => text === "10 km" || text === "50 km" || text === "100 km"), [["10 km", 7], ["50 km", 3], ["100 km", 3]]);
  assert.deepEqual(shown.slice(-5).map(([text]) => text), ["Start", "Finish", "Start / Finish", "", "Mass start"]);
  const drawn = courseData(course).features.map(({ properties }) => properties?.["zoom"]);
  assert.deepEqual(drawn, [undefined, ...shown.map(([, zoom]) => zoom)]);
  assert.deepEqual(courseData(undefined).features, []);
});
