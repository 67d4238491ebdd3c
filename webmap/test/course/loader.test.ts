import assert from "node:assert/strict";
import { test } from "node:test";
import { CourseLoader } from "../../src/course/loader.ts";

const COURSE = { features: [{ geometry: { type: "MultiLineString", coordinates: [[[1, 2], [3, 4]]] }, properties: { kind: "line" } }] };

function loader(...answers: (Response | Error)[]): { loader: CourseLoader; asked: string[]; waited: number[]; found: unknown[] } {
  const [asked, waited, found]: [string[], number[], unknown[]] = [[], [], []];
  const fetcher = (url: string): Promise<Response> => {
    asked.push(url);
    const answer = answers.shift() ?? new Error("no more answers");
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  const wait = (ms: number): Promise<void> => Promise.resolve(void waited.push(ms));
  return { loader: new CourseLoader("http://x/live/course", (course) => found.push(course.lines.length), fetcher, wait), asked, waited, found };
}

test("a course is asked for once for each event that is opened", async () => {
  const { loader: courses, asked, found } = loader(Response.json(COURSE), Response.json({ features: [] }));
  await courses.load("a&b");
  await courses.load("a&b");
  await courses.load("8");
  assert.deepEqual(asked, ["http://x/live/course?event=a%26b", "http://x/live/course?event=8"]);
  assert.deepEqual(found, [1]);
});

test("it is asked for again while the server cannot answer, and not when it refuses", async () => {
  const busy = new Response(null, { status: 503, headers: { "Retry-After": "7" } });
  const { loader: courses, asked, waited, found } = loader(busy, new Error("network"), Response.json(COURSE));
  await courses.load("7");
  assert.deepEqual([asked.length, found], [3, [1]]);
  assert.ok((waited[0] ?? 0) >= 7_000);
  const refused = loader(new Response(null, { status: 403 }));
  await refused.loader.load("7");
  assert.deepEqual([refused.asked.length, refused.found], [1, []]);
});

test("an answer for an event that was left is dropped", async () => {
  const { loader: courses, found } = loader(Response.json(COURSE));
  const loading = courses.load("7");
  courses.forget();
  await loading;
  assert.deepEqual(found, []);
});
