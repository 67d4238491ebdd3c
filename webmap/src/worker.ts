/** The entry of the feed's own thread: a burst of 100,000 messages a second must not hold up the page. */
import { Conflator } from "./feed/conflator.ts";
import type { FeedEnvironment, Socket } from "./feed/environment.ts";
import { Feed } from "./feed/feed.ts";
import type { FromWorker, ToWorker } from "./feed/link.ts";
import { probe } from "./feed/probe.ts";

/** Ten updates a second look continuous, because markers glide from one to the next. */
const DELIVER_MS = 100;

const page = self as unknown as { postMessage(message: FromWorker, transfer: Transferable[]): void };
let feed: Feed | undefined;
let conflator = new Conflator();
let received = 0;
let deliveries: ReturnType<typeof setInterval> | undefined;

function environment(url: string, probeUrls: readonly string[]): FeedEnvironment {
  return {
    connect: () => new WebSocket(url) as Socket,
    probe: () => probe(probeUrls),
    now: () => Date.now(),
    random: () => Math.random(),
    after: (delayMs, action) => {
      const handle = setTimeout(action, delayMs);
      return () => clearTimeout(handle);
    },
  };
}

function start(message: ToWorker & { type: "start" }): void {
  feed?.stop();
  conflator = new Conflator();
  const { session } = message;
  feed = new Feed(message.eventId, environment(message.url, message.probeUrls), {
    state: (state) => {
      deliver(session);
      page.postMessage({ type: "state", session, state }, []);
    },
    position: (position) => {
      received += 1;
      conflator.add(position);
    },
    entries: (entries, replaces) => page.postMessage({ type: "entries", session, entries, replaces }, []),
    snapshot: (positions, resumed) => {
      if (resumed) conflator.resume(positions);
      else conflator.replace(positions);
      deliver(session);
    },
    begin: (positions) => conflator.begin(positions),
    complete: () => conflator.complete(),
    removed: (deviceId) => conflator.remove(deviceId),
    renewed: () => page.postMessage({ type: "renewed", session }, []),
  });
  clearInterval(deliveries);
  deliveries = setInterval(() => deliver(session), DELIVER_MS);
  feed.start();
}

function deliver(session: number): void {
  const batch = conflator.take();
  if (batch === undefined) return;
  page.postMessage({ type: "batch", session, batch, received }, [batch.values.buffer as ArrayBuffer]);
}

self.onmessage = (event: MessageEvent<ToWorker>): void => {
  if (event.data.type === "start") start(event.data);
  else if (event.data.type === "renew") feed?.renew();
  else feed?.retryNow();
};
