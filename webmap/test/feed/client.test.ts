import assert from "node:assert/strict";
import { test } from "node:test";
import { FeedClient, besidePage } from "../../src/feed/client.ts";
import type { FromWorker, ToWorker } from "../../src/feed/link.ts";

/** A thread that never runs: what it is told, and the handler of what it would say. */
function pair(): { client: FeedClient; told: ToWorker[]; say: (message: FromWorker) => void; heard: string[] } {
  const told: ToWorker[] = [];
  const heard: string[] = [];
  const worker = { postMessage: (message: ToWorker) => told.push(message) } as unknown as Worker;
  const client = new FeedClient(worker, {
    state: (state) => heard.push(state.name),
    entries: (entries) => heard.push(...entries.keys()),
    batch: (_, received) => heard.push(String(received)),
    renewed: () => heard.push("renewed"),
  });
  return { client, told, heard, say: (data) => worker.onmessage?.call(worker, { data } as MessageEvent<FromWorker>) };
}

test("an event's addresses are those of the page's own server", () => {
  const { client, told } = pair();
  client.start("7", "/live", "https://race.example/map/config.json");
  const probeUrls = ["https://race.example/map/config.json", "https://race.example/map/live?origin=https%3A%2F%2Frace.example"];
  assert.deepEqual(told, [{ type: "start", session: 1, eventId: "7", url: "wss://race.example/map/live", probeUrls }]);
});

test("what the thread still says of an earlier event is dropped", () => {
  const { client, heard, say } = pair();
  const batch = { newIds: [], values: new Float64Array(0), replaces: false };
  client.start("7", "/live", "http://localhost/config.json");
  say({ type: "state", session: 1, state: { name: "live", text: "Live" } });
  client.start("8", "/live", "http://localhost/config.json");
  say({ type: "batch", session: 1, batch, received: 5 });
  say({ type: "renewed", session: 1 });
  say({ type: "batch", session: 2, batch, received: 6 });
  say({ type: "renewed", session: 2 });
  assert.deepEqual(heard, ["live", "6", "renewed"]);
});

test("the socket is beside the page, whether or not the server knows of the folder", () => {
  const below = ["/live", "/tracking/live", "/ws/live"].map((path) => besidePage(path, "/tracking/"));
  assert.deepEqual(below, ["/tracking/live", "/tracking/live", "/tracking/ws/live"]);
  assert.deepEqual(["/live", "/ws/live"].map((path) => besidePage(path, "/")), ["/live", "/ws/live"]);
});
