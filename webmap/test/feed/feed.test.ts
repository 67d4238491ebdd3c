import assert from "node:assert/strict";
import { test } from "node:test";
import { Feed } from "../../src/feed/feed.ts";
import { FakeWorld } from "./fake.ts";

const TOPIC = "event:a";
const POSITION = { deviceId: "d1", lat: 1, lon: 2, ts: 3 };
const FRAME = { type: "positions", topic: TOPIC, positions: [POSITION, { ...POSITION, ts: 4 }], cursor: "9-0" };

function connected(): { world: FakeWorld; feed: Feed } {
  const world = new FakeWorld();
  const feed = new Feed("a", world, world);
  feed.start();
  world.socket.onopen?.();
  world.socket.answer({ type: "subscribed", topic: TOPIC, snapshot: [POSITION], cursor: "5-0" });
  return { world, feed };
}

test("it subscribes once open and is live with the snapshot", () => {
  const { world } = connected();
  assert.deepEqual(world.socket.sent, [{ type: "subscribe", topic: TOPIC, batch: true }]);
  assert.deepEqual(world.states.map((state) => state.name), ["connecting", "live"]);
  assert.equal(world.snapshots[0]?.positions[0]?.deviceId, "d1");
});

test("after a lost connection it resumes from the last frame's cursor", () => {
  const { world } = connected();
  world.socket.answer(FRAME);
  world.socket.onclose?.({ code: 1006 });
  assert.equal(world.last?.name, "reconnecting");
  world.pass(1_000);
  world.socket.onopen?.();
  assert.equal(world.sockets.length, 2);
  assert.deepEqual(world.socket.sent, [{ type: "subscribe", topic: TOPIC, batch: true, since: "9-0" }]);
  world.socket.answer({ type: "subscribed", topic: TOPIC, resumed: true, snapshot: [], cursor: "9-0" });
  assert.equal(world.snapshots.at(-1)?.resumed, true);
  assert.equal(world.last?.name, "live");
});

test("positions are passed on in the order in which they came, those of other topics are not", () => {
  const { world } = connected();
  world.socket.answer(FRAME);
  world.socket.answer({ ...FRAME, topic: "event:b" });
  world.socket.answer({ type: "position", topic: TOPIC, ...POSITION, ts: 5, cursor: "9-1" });
  assert.deepEqual(world.positions.map((position) => position.ts), [3, 4, 5]);
});

test("without a frame it takes the subscription's cursor", () => {
  const { world } = connected();
  world.socket.onclose?.({ code: 4408 });
  world.pass(1_000);
  world.socket.onopen?.();
  assert.equal(world.socket.sent[0]?.["since"], "5-0");
});

test("while the server's database is away it says so, and goes on from where it was", () => {
  const { world } = connected();
  world.socket.onclose?.({ code: 1001 });
  world.pass(1_000);
  world.socket.onopen?.();
  world.socket.answer({ type: "subscribed", topic: TOPIC, snapshot: [], cursor: "", partial: true });
  world.socket.answer({ ...FRAME, cursor: "" });
  assert.match(world.last?.text ?? "", /database is away/);
  assert.deepEqual(world.parts, ["begins with 0"]);
  world.socket.answer({ type: "subscribed", topic: TOPIC, snapshot: [], cursor: "9-0", resumed: true });
  assert.deepEqual(world.parts, ["begins with 0", "complete"]);
  assert.deepEqual(world.states.map(({ name }) => name).slice(-2), ["live", "live"]);
  assert.equal(world.last?.text, "Live");
  assert.equal(world.snapshots.length, 1);
  world.socket.onclose?.({ code: 1001 });
  world.pass(1_000);
  world.socket.onopen?.();
  assert.equal(world.socket.sent[0]?.["since"], "9-0");
});

test("the rest of a large event is complete with the first cursor", () => {
  const world = new FakeWorld();
  new Feed("a", world, world).start();
  world.socket.onopen?.();
  world.socket.answer({ type: "subscribed", topic: TOPIC, snapshot: [POSITION], cursor: "" });
  world.socket.answer({ ...FRAME, cursor: "" });
  world.socket.answer(FRAME);
  world.socket.answer(FRAME);
  assert.deepEqual(world.parts, ["begins with 1", "complete"]);
});

test("devices that are removed from its event are passed on", () => {
  const { world } = connected();
  world.socket.answer({ type: "removed", topic: TOPIC, deviceId: "d1" });
  world.socket.answer({ type: "removed", topic: "event:b", deviceId: "d2" });
  assert.deepEqual(world.parts, ["without d1"]);
});

test("refusals end the subscription, each with its state and without another attempt", () => {
  const codes = { forbidden: "forbidden", "not-found": "not-found", "unknown-topic": "not-found", "bad-request": "error" };
  for (const [code, name] of Object.entries(codes)) {
    const { world } = connected();
    world.socket.answer({ type: "error", code, topic: TOPIC });
    world.pass(600_000);
    assert.equal(world.last?.name, name);
    assert.equal(world.sockets.length, 1);
    assert.equal(world.socket.closed, true);
  }
});

test("error and limit are tried again later", () => {
  for (const code of ["error", "limit"]) {
    const { world } = connected();
    world.socket.answer({ type: "error", code, topic: TOPIC });
    assert.equal(world.last?.name, "reconnecting");
    world.pass(1_000);
    assert.equal(world.sockets.length, 2);
  }
});

test("an error about another topic changes nothing", () => {
  const { world } = connected();
  world.socket.answer({ type: "error", code: "forbidden", topic: "event:b" });
  assert.equal(world.last?.name, "live");
});

test("4401 is signed out if HTTP says so too; with a renewed session it reconnects", async () => {
  const text = "Your session has ended.";
  for (const [refusal, name, sockets] of [[{ kind: "signed-out", text, signInUrl: undefined }, "signed-out", 1], [{ kind: "none" }, "reconnecting", 2]] as const) {
    const { world } = connected();
    world.refusal = refusal;
    world.socket.onclose?.({ code: 4401 });
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(world.last?.name, name);
    // Somebody else may have signed in.
    assert.deepEqual(world.parts, sockets === 1 ? [] : ["renewed"]);
    world.pass(1_000);
    assert.equal(world.sockets.length, sockets);
  }
});

test("the other close codes reconnect", () => {
  for (const [code, name, sockets] of [[1001, "reconnecting", 2], [1009, "reconnecting", 2], [4408, "reconnecting", 2]] as const) {
    const { world } = connected();
    world.socket.onclose?.({ code });
    assert.equal(world.last?.name, name);
    world.pass(1_000);
    assert.equal(world.sockets.length, sockets);
  }
});

test("4429 stays away for at least fifteen seconds", () => {
  const { world } = connected();
  world.socket.onclose?.({ code: 4429 });
  world.pass(14_999);
  assert.equal(world.sockets.length, 1);
  world.pass(2_000);
  assert.equal(world.sockets.length, 2);
});

test("a refused upgrade is explained by asking over HTTP", async () => {
  const expected = [
    [{ kind: "signed-out", text: "You are not signed in.", signInUrl: "/login" }, "signed-out"],
    [{ kind: "forbidden", text: "You are not signed in." }, "forbidden"],
    [{ kind: "refused", text: "You are not signed in." }, "error"],
    [{ kind: "full", text: "You are not signed in. Try again.", retryAfterMs: 7_000 }, "reconnecting"],
    [{ kind: "unreachable" }, "reconnecting"],
    [{ kind: "missing", path: "/live" }, "error"],
    [{ kind: "none" }, "reconnecting"],
  ] as const;
  for (const [refusal, name] of expected) {
    const world = new FakeWorld();
    world.refusal = refusal;
    new Feed("a", world, world).start();
    world.socket.onclose?.({ code: 1006 });
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(world.last?.name, name);
    assert.deepEqual(world.parts, []);
    if ("text" in refusal) assert.equal(world.last?.text, "You are not signed in.");
    if (refusal.kind === "signed-out") assert.equal(world.last?.signInUrl, "/login");
    if (refusal.kind === "full") assert.equal(world.last?.retryAt, world.now() + 8_000);
  }
});

test("waits grow from a second to half a minute and start over after a success", () => {
  const { world } = connected();
  const waits: number[] = [];
  for (let attempt = 0; attempt < 7; attempt++) {
    world.socket.onclose?.({ code: 1001 });
    const wait = (world.last?.retryAt ?? 0) - world.now();
    waits.push(wait);
    world.pass(wait);
    world.socket.onopen?.();
  }
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  world.socket.answer({ type: "subscribed", topic: TOPIC, snapshot: [] });
  world.socket.onclose?.({ code: 1001 });
  assert.equal((world.last?.retryAt ?? 0) - world.now(), 1_000);
});

test("silence is stale, and the next frame is live again", () => {
  const { world } = connected();
  world.pass(29_999);
  assert.equal(world.last?.name, "live");
  world.pass(1);
  assert.equal(world.last?.name, "stale");
  assert.deepEqual(world.socket.sent.at(-1), { type: "ping", id: "probe" });
  world.socket.answer({ type: "error", code: "bad-request", id: "probe" });
  world.pass(60_000 - 30_000);
  assert.equal(world.last?.name, "stale");
  world.socket.answer(FRAME);
  assert.equal(world.last?.name, "live");
});

test("a stale line that answers nothing is given up", () => {
  const { world } = connected();
  world.pass(30_000 + 10_000);
  assert.equal(world.last?.name, "reconnecting");
  assert.equal(world.sockets[0]?.closed, true);
});

test("a server that accepts but never answers is given up", () => {
  const world = new FakeWorld();
  new Feed("a", world, world).start();
  world.socket.onopen?.();
  world.pass(15_000);
  assert.equal(world.last?.name, "reconnecting");
});

test("a socket that was given up has no say any more", () => {
  const { world } = connected();
  const old = world.socket;
  old.onclose?.({ code: 1006 });
  old.answer(FRAME);
  assert.equal(world.positions.length, 0);
  assert.equal(world.last?.name, "reconnecting");
});

test("retryNow connects at once, but leaves a live feed alone", () => {
  const { world, feed } = connected();
  feed.retryNow();
  assert.equal(world.sockets.length, 1);
  world.socket.onclose?.({ code: 1006 });
  feed.retryNow();
  assert.equal(world.sockets.length, 2);
  world.pass(5_000);
  assert.equal(world.sockets.length, 2);
});

test("whoever signed in is shown what they may see, from where everybody was", () => {
  const { world, feed } = connected();
  world.socket.answer(FRAME);
  const [first] = world.sockets;
  feed.renew();
  assert.deepEqual([first?.closed, world.sockets.length], [true, 2]);
  world.socket.onopen?.();
  assert.equal(world.socket.sent[0]?.["since"], "9-0");
});

test("entries of a subscribe are instead of those before, those that follow are added; of other topics none are", () => {
  const { world } = connected();
  const told = (name: string): object => ({ d1: { name } });
  world.socket.answer({ type: "subscribed", topic: TOPIC, snapshot: [], cursor: "5-0", entries: told("Ana") });
  world.socket.answer({ type: "entries", topic: TOPIC, entries: told("Bo") });
  world.socket.answer({ type: "entries", topic: "event:b", entries: told("Cy") });
  world.socket.answer({ type: "subscribed", topic: TOPIC, snapshot: [], cursor: "5-0" });
  assert.deepEqual(world.told, [{ names: ["Ana"], replaces: true }, { names: ["Bo"], replaces: false }]);
});
