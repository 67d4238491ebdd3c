import assert from "node:assert/strict";
import { test } from "node:test";
import { STRIDE, type Batch } from "../../src/feed/conflator.ts";
import { Archive } from "../../src/history/archive.ts";
import { Chunks } from "../../src/history/chunks.ts";
import type { Track } from "../../src/history/past.ts";
import { Player, spanAt, stepFor, SPEEDS } from "../../src/history/player.ts";
import { FakeServer, type Fix } from "./fake.ts";

/** At the beginning of a piece of every resolution. */
const START = 96_000 * 18_518_400;
const HOUR_MS = 3_600_000;
const TICK_MS = 100;

/** A device that moves a thousandth of a degree a second. */
function way(deviceId: string, fromS: number, toS: number, everyS = 1): Fix[] {
  const count = Math.ceil((toS - fromS) / everyS);
  return Array.from({ length: count }, (_, at) => fix(deviceId, fromS + at * everyS));
}

function fix(deviceId: string, second: number): Fix {
  return { deviceId, ts: START + second * 1_000, lat: second / 1_000 };
}

/** What a map would show: the newest position of each device, by seconds since the start. */
class Screen {
  readonly shown = new Map<string, number>();
  readonly seen: [string, number][] = [];
  led: readonly Track[] = [];
  ended = 0;
  presentS = 100_000;
  readonly player: Player;
  readonly chunks: Chunks;
  private ids: string[] = [];

  constructor(archive: Archive, atS: number) {
    this.chunks = new Chunks(archive, "7", (action) => action());
    const listener = {
      restart: (batch: Batch, tracks: readonly Track[]): void => {
        this.ids = [];
        this.shown.clear();
        this.led = tracks;
        this.take(batch);
      },
      batch: (batch: Batch) => this.take(batch),
      caughtUp: () => void (this.ended += 1),
    };
    this.player = new Player(this.chunks, listener, () => START + (this.presentS - 3) * 1_000, START + atS * 1_000);
  }

  get atS(): number {
    return (this.player.timeMs - START) / 1_000;
  }

  async tick(times = 1, elapsedMs = TICK_MS): Promise<void> {
    for (let tick = 0; tick < times; tick++) {
      this.player.tick(elapsedMs);
      await settled();
    }
  }

  private take({ newIds, values }: Batch): void {
    this.ids.push(...newIds);
    for (let at = 0; at < values.length; at += STRIDE) {
      const deviceId = this.ids[values[at] as number] as string;
      const second = ((values[at + 3] as number) - START) / 1_000;
      this.shown.set(deviceId, second);
      this.seen.push([deviceId, second]);
    }
  }
}

/** Let everything that was asked for be answered. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("every position comes once, in order, at its time", async () => {
  const server = new FakeServer([...way("a", 0, 400), ...way("b", 3, 400, 7)]);
  const screen = new Screen(server.archive, 10);
  while (screen.atS < 300) {
    await screen.tick();
    if (!screen.player.waiting) {
      const second = Math.floor(screen.atS + 1e-6);
      assert.deepEqual([...screen.shown].sort(), [["a", second], ["b", 3 + Math.floor((second - 3) / 7) * 7]]);
    }
  }
  assert.deepEqual(screen.seen.filter(([id]) => id === "a").map(([, second]) => second), Array.from({ length: 291 }, (_, at) => at + 10));
});

test("a jump shows where every device was, those too that had not sent for long, and the way there", async () => {
  const server = new FakeServer([...way("often", 0, 9_000), ...way("rarely", 50, 9_000, 1_500), ...way("later", 8_000, 9_000)]);
  const screen = new Screen(server.archive, 0);
  await screen.tick(3);
  for (const [second, rarely] of [[7_777, 7_550], [5_000, 4_550], [12, undefined]] as const) {
    screen.player.playing = second !== 5_000;
    screen.player.seek(START + second * 1_000);
    await screen.tick(4, 0);
    assert.equal(screen.player.waiting, false);
    assert.deepEqual(Object.fromEntries(screen.shown), rarely === undefined ? { often: second } : { often: second, rarely });
    assert.ok(screen.led.some(({ deviceId, ts }) => deviceId === "often" && (ts[0] as number) <= screen.player.timeMs));
  }
});

test("a pause stands still, and goes on from there", async () => {
  const screen = new Screen(new FakeServer(way("a", 0, 400)).archive, 10);
  await screen.tick(4);
  screen.player.playing = false;
  const { atS } = screen;
  await screen.tick(20);
  assert.equal(screen.atS, atS);
  screen.player.playing = true;
  await screen.tick(10);
  assert.ok(Math.abs(screen.atS - atS - 1) < 1e-6);
});

test("another speed goes on from where it is and never back", async () => {
  const screen = new Screen(new FakeServer(way("a", 0, 9_000)).archive, 1_003);
  for (const speed of [1, 64, 8, 16, 2, 32]) {
    screen.player.speed = speed;
    const before = screen.atS;
    await screen.tick(20);
    assert.ok(screen.atS > before + 1.5 * speed && screen.atS <= before + 2 * speed + 1e-6, `${speed}: ${before} to ${screen.atS}`);
  }
  const seconds = screen.seen.map(([, second]) => second);
  assert.deepEqual(seconds, [...new Set(seconds)].sort((a, b) => a - b));
});

test("pieces that the server cuts are played one after the other", async () => {
  const server = new FakeServer([...way("a", 0, 400), ...way("b", 0, 400)], 50);
  const screen = new Screen(server.archive, 110);
  await screen.tick(1_500);
  assert.ok(screen.atS > 250);
  const seconds = screen.seen.filter(([id]) => id === "a").map(([, second]) => second);
  assert.deepEqual(seconds, Array.from({ length: seconds.length }, (_, at) => at + 110));
});

test("at the present it ends, and what has just happened is not asked for again and again", async () => {
  const server = new FakeServer(way("a", 0, 400));
  const screen = new Screen(server.archive, 200);
  screen.presentS = 300;
  screen.player.speed = 8;
  for (let tick = 0; tick < 200 && screen.ended === 0; tick++) {
    await screen.tick();
    screen.presentS += TICK_MS / 1_000;
  }
  assert.equal(screen.ended, 1);
  assert.ok(screen.atS > 300 && screen.shown.get("a") === Math.floor(screen.atS + 1e-6));
  assert.ok(server.asked.length < 9, `${server.asked.length} requests`);
});

test("a server that fails is asked again", async () => {
  const server = new FakeServer(way("a", 0, 400));
  server.refusals = Array.from({ length: 4 }, () => ({ status: 503 }));
  const screen = new Screen(server.archive, 10);
  await screen.tick(1);
  assert.deepEqual([screen.player.waiting, screen.chunks.failed], [true, true]);
  await screen.tick(4);
  assert.deepEqual([screen.player.waiting, screen.chunks.failed], [false, false]);
});

test("200 devices over eight hours play at every speed without a stall, with little of it in memory", async () => {
  for (const speed of [64, 16, 8]) {
    const archive = new Archive("http://server/live/history", async (url) => {
      // A server that takes two seconds for each answer.
      for (let tick = 0; tick < 20; tick++) await settled();
      const [from, to, step] = ["from", "to", "step"].map((name) => Number(new URL(url).searchParams.get(name) ?? 0));
      const ts: number[] = [];
      for (let at = from as number; at < (to as number); at += Math.max(1_000, step as number)) ts.push(at);
      const zeros = ts.map(() => 0);
      const devices = Array.from({ length: 200 }, (_, id) => ({ deviceId: String(id), ts, lat: zeros, lon: zeros, speed: zeros, course: zeros }));
      return Response.json({ devices, to });
    });
    const screen = new Screen(archive, 0);
    screen.player.speed = speed;
    while (screen.player.waiting) await screen.tick();
    let stalls = 0;
    let most = 0;
    const hours = speed === 64 ? 8 : 0.5;
    while (screen.atS * 1_000 < hours * HOUR_MS) {
      await screen.tick();
      screen.seen.length = 0;
      stalls += screen.player.waiting ? 1 : 0;
      most = Math.max(most, screen.chunks.count);
    }
    assert.equal(stalls, 0);
    assert.ok(most <= 12);
    assert.equal(screen.shown.size, 200);
  }
});

test("the resolution follows the speed, and pieces last for 15 seconds of playing at least", () => {
  assert.deepEqual(SPEEDS.map(stepFor), [0, 0, 0, 0, 2_000, 4_000, 8_000]);
  for (const speed of SPEEDS) {
    const { fromMs, toMs } = spanAt(START + 12_345, stepFor(speed));
    assert.ok(fromMs <= START + 12_345 && START + 12_345 < toMs && (toMs - fromMs) / speed >= 15_000);
  }
});
