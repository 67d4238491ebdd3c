import assert from "node:assert/strict";
import { test } from "node:test";
import type { Course } from "../../src/course/course.ts";
import { courseData, drawable, marksOf } from "../../src/map/course.ts";

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

test("of a line that fills its area only some is drawn, and a race of many laps whole", () => {
  const zigzag = (points: number, lon: number) => Array.from({ length: points }, (_, at): [number, number] => [at % 2 === 0 ? lon : -lon, at / 1e6]);
  const [drawn = []] = drawable([zigzag(19_999, 89)]);
  assert.deepEqual([drawn.length > 400, drawn.length < 600], [true, true]);
  assert.deepEqual(new Set(drawn.map(([lon]) => lon)), new Set([89, -89]));
  const across = Array.from({ length: 9_999 }, (_, at): [number, number][] => [[at % 2 === 0 ? 179 : -179, at / 1e6], [at % 2 === 0 ? 180 : -180, at / 1e6]]);
  assert.ok(drawable(across).length < 1_000);
  const laps = [Array.from({ length: 10_000 }, (_, at): [number, number] => [Math.cos(at), Math.sin(at)])];
  assert.equal(drawable([laps[0]!.slice(0, 900)])[0]!.length, 900);
  assert.deepEqual(drawable([[[1, 1], [1, 1]]]), [[[1, 1], [1, 1]]]);
});
