import assert from "node:assert/strict";
import { test } from "node:test";
import { probe, retryAfterMs, signInUrlOf } from "../../src/feed/probe.ts";

function answers(...statuses: number[]): (url: string) => Promise<Response> {
  const body = JSON.stringify({ code: "x", message: "It is so." });
  return () => Promise.resolve(new Response(body, { status: statuses.shift() ?? 500, headers: { "Retry-After": "4" } }));
}

test("the first telling HTTP answer explains a refusal, with the server's sentence", async () => {
  const text = "It is so.";
  assert.deepEqual(await probe(["a", "b"], answers(200, 401)), { kind: "signed-out", text, signInUrl: undefined });
  assert.deepEqual(await probe(["a", "b"], answers(200, 403)), { kind: "forbidden", text });
  assert.deepEqual(await probe(["a", "b"], answers(431)), { kind: "refused", text });
  for (const status of [429, 503]) {
    assert.deepEqual(await probe(["a", "b"], answers(status)), { kind: "full", text, retryAfterMs: 4_000 });
  }
  assert.deepEqual(await probe(["a", "b"], answers(200, 426)), { kind: "none" });
  assert.deepEqual(await probe(["a"], () => Promise.reject(new TypeError("network"))), { kind: "unreachable" });
});

test("only a server that is there can lack what was asked for", async () => {
  const urls = ["https://race.example/map/config.json", "https://race.example/map/live?origin=x"];
  assert.deepEqual(await probe(urls, answers(200, 404)), { kind: "missing", path: "/map/live" });
  assert.deepEqual(await probe(urls, answers(404, 404)), { kind: "unreachable" });
});

test("what something before the server answers has no sentence", async () => {
  for (const body of ["<html>", "", "null", '"x"', '{"message":5}', '{"message":""}']) {
    assert.deepEqual(await probe(["a"], () => Promise.resolve(new Response(body, { status: 401 }))), { kind: "signed-out", text: undefined, signInUrl: undefined });
  }
  const endless = JSON.stringify({ message: "x".repeat(10_000) });
  assert.deepEqual(await probe(["a"], () => Promise.resolve(new Response(endless, { status: 403 }))), { kind: "forbidden", text: "x".repeat(200) });
});

test("one signs in at an address of the web or a path of this server", () => {
  const told = ["https://example.org/login", "/login", "//evil.example", "/\\evil.example", "javascript:alert(1)", "login", 7, null];
  const expected = ["https://example.org/login", "/login", ...Array.from({ length: 6 }, () => undefined)];
  assert.deepEqual(told.map((signInUrl) => signInUrlOf({ message: "x", signInUrl })), expected);
  assert.equal(signInUrlOf("x"), undefined);
});

test("Retry-After is seconds, within reason", () => {
  assert.deepEqual(["5", "100000", "-1", "Sat, 02 May 2026", "", null].map(retryAfterMs), [5_000, 300_000, 0, 0, 0, 0]);
});
