import assert from "node:assert/strict";
import { test } from "node:test";
import { distanceKm, kilometres, parseCourse, type Place } from "../../src/course/course.ts";

const line = (...parts: unknown[]): object => ({ type: "Feature", geometry: { type: "MultiLineString", coordinates: parts }, properties: { kind: "line" } });
const mark = (kind: unknown, place: unknown, name?: unknown): object => ({ geometry: { type: "Point", coordinates: place }, properties: { kind, name } });
const collection = (...features: unknown[]): object => ({ type: "FeatureCollection", features });

test("a course has lines and marks", () => {
  const body = collection(line([[21, 42], [22, 42]]), mark("start", [21, 42]), mark("point", [21.5, 42], " Feed "));
  assert.deepEqual(parseCourse(body), {
    lines: [{ name: "", parts: [[[21, 42], [22, 42]]] }],
    marks: [{ kind: "start", name: "", place: [21, 42] }, { kind: "point", name: "Feed", place: [21.5, 42] }],
  });
});

test("what is not as expected is left out, and without a line there is no course", () => {
  const odd = [null, 5, line("x"), line([[21, 42]]), mark("evil", [1, 2]), mark("start", [1, 91]), mark("start", ["1", 2])];
  assert.deepEqual(parseCourse(collection(...odd, line([[21, 42], [181, 0], [null, 1], [22, 42, 300]], [[0, 0]])))?.lines, [
    { name: "", parts: [[[21, 42], [22, 42]]] },
  ]);
  for (const body of [null, [], {}, collection(), collection(...odd), { features: 5 }]) assert.equal(parseCourse(body), undefined);
  const endless = Array.from({ length: 30_000 }, (_, n) => [n / 1000, 1]);
  assert.equal(parseCourse(collection(line(endless))), undefined);
  assert.equal(parseCourse(collection(...Array.from({ length: 601 }, () => line([[21, 42], [22, 42]])))), undefined);
});

test("kilometres are where the line has come so far, over all of its parts", () => {
  const east = (km: number): Place => [km / 111.195, 0];
  const [part, rest] = [[east(0), east(1.5)], [east(1.5), east(3.2)]];
  for (const parts of [[[east(0), east(3.2)]], [part, rest]] as Place[][][]) {
    const marks = kilometres({ name: "", parts });
    assert.deepEqual(marks.map(({ km }) => km), [1, 2, 3]);
    for (const { km, place } of marks) assert.ok(distanceKm(place, east(km)) < 0.01, `${km}`);
  }
});

test("no course has more marks than can be told apart", () => {
  const count = (degrees: number): [number, number | undefined] => {
    const marks = kilometres({ name: "", parts: [[[0, 0], [degrees, 0]]] });
    return [marks.length, marks[0]?.km];
  };
  assert.deepEqual([count(4), count(9), count(45), count(170)], [[444, 1], [200, 5], [100, 50], [378, 50]]);
  const zigzag: Place[] = Array.from({ length: 20_000 }, (_, n) => [n % 2 === 0 ? -90 : 90, 0]);
  assert.deepEqual(kilometres({ name: "", parts: [zigzag] }), []);
  assert.deepEqual(kilometres({ name: "", parts: [[[1, 1], [1, 1]]] }), []);
});
