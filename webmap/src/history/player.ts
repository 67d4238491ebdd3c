/** Plays the past: which positions come when, at any speed, from any time. No DOM, no clock of its own. */
import { STRIDE, type Batch } from "../feed/conflator.ts";
import type { Span } from "./archive.ts";
import type { Chunk, Chunks } from "./chunks.ts";
import type { Track } from "./past.ts";

export const SPEEDS = [1, 2, 4, 8, 16, 32, 64] as const;
/** From this speed on, eight positions of a device in a second of playing are enough. */
const THINNED_FROM = 16;
const PER_SECOND = 8;
/** Positions of a device in a piece, at one a second: at least 15 seconds of playing. */
const PER_CHUNK = 120;
/** Pieces that are fetched ahead. */
const AHEAD = 2;
/** Where devices were, and came from, before a piece begins: so many positions of each, of this time before it. */
const LOOK_BACK_MS = 21_600_000;
const LOOK_BACK_POSITIONS = 96;
/** What ends where playing ends is not fetched ahead when it is shorter: it would be fetched again and again. */
const SHORTEST_AHEAD_MS = 10_000;
/** A page that slept does not jump. */
const LONGEST_TICK_MS = 1_000;

export interface PlayerListener {
  /** Show these positions and nothing else; `tracks` lead there, in the order in which they go back. */
  restart(batch: Batch, tracks: readonly Track[]): void;
  batch(batch: Batch): void;
  /** The end is reached. */
  caughtUp(): void;
}

export function stepFor(speed: number): number {
  return speed >= THINNED_FROM ? (speed / PER_SECOND) * 1_000 : 0;
}

/** The piece of the grid that holds a time. */
export function spanAt(timeMs: number, stepMs: number): Span {
  const lengthMs = PER_CHUNK * Math.max(1_000, stepMs);
  const fromMs = Math.floor(timeMs / lengthMs) * lengthMs;
  return { fromMs, toMs: fromMs + lengthMs, stepMs };
}

export class Player {
  playing = true;
  /** Whether it waits for positions. */
  waiting = true;
  private speedNow = 1;
  private restarting = true;
  private cursor: { readonly chunk: Chunk; readonly next: Uint32Array } | undefined;
  /** Index and last position, by device. */
  private readonly known = new Map<string, { readonly device: number; ts: number }>();

  constructor(
    private readonly chunks: Chunks,
    private readonly listener: PlayerListener,
    private readonly endMs: () => number,
    private atMs: number,
  ) {}

  /** The time that is shown, epoch milliseconds. */
  get timeMs(): number {
    return this.atMs;
  }

  get speed(): number {
    return this.speedNow;
  }

  set speed(speed: number) {
    this.speedNow = speed;
    this.cursor = undefined;
  }

  /** Go on from another time. */
  seek(timeMs: number): void {
    this.atMs = Math.min(timeMs, this.endMs());
    this.restarting = true;
    this.cursor = undefined;
  }

  /** Play for so long, as far as the positions are here. */
  tick(elapsedMs: number): void {
    const endMs = this.endMs();
    const wantedMs = this.playing ? this.atMs + Math.min(elapsedMs, LONGEST_TICK_MS) * this.speedNow : this.atMs;
    this.waiting = !this.play(Math.min(wantedMs, endMs));
    this.fetch();
    if (this.playing && wantedMs >= endMs) this.listener.caughtUp();
  }

  private get stepMs(): number {
    return stepFor(this.speedNow);
  }

  /** Show everything up to a time; false if some of it is not here yet. */
  private play(untilMs: number): boolean {
    if (this.restarting && !this.restart()) return false;
    for (;;) {
      const chunk = this.chunks.find(this.atMs, this.stepMs);
      if (chunk === undefined) return false;
      const endMs = Math.min(untilMs, chunk.toMs);
      const batch = this.take(chunk, endMs);
      if (batch.values.length > 0) this.listener.batch(batch);
      this.atMs = Math.max(this.atMs, endMs);
      if (untilMs < chunk.toMs) return true;
    }
  }

  private restart(): boolean {
    const chunk = this.chunks.find(this.atMs, this.stepMs);
    const before = chunk && this.chunks.before(chunk.fromMs);
    if (chunk === undefined || before === undefined) return false;
    this.restarting = false;
    this.known.clear();
    const newest = new Map<string, [Track, number]>();
    for (const { tracks } of [before, chunk]) {
      for (const track of tracks) {
        const count = countUntil(track.ts, this.atMs);
        if (count > 0) newest.set(track.deviceId, [track, count - 1]);
      }
    }
    const batch = this.pack([...newest.values()], true);
    this.listener.restart(batch, [...chunk.tracks, ...before.tracks]);
    return true;
  }

  /** The newest position up to a time of each device that has a new one. */
  private take(chunk: Chunk, untilMs: number): Batch {
    if (this.cursor?.chunk !== chunk) this.cursor = { chunk, next: new Uint32Array(chunk.tracks.length) };
    const { next } = this.cursor;
    const found: [Track, number][] = [];
    chunk.tracks.forEach((track, at) => {
      const from = next[at] as number;
      let to = from;
      while (to < track.ts.length && (track.ts[to] as number) <= untilMs) to++;
      next[at] = to;
      // A thinner piece may begin before what was shown.
      if (to > from && (track.ts[to - 1] as number) > (this.known.get(track.deviceId)?.ts ?? 0)) found.push([track, to - 1]);
    });
    return this.pack(found, false);
  }

  private pack(found: readonly [Track, number][], replaces: boolean): Batch {
    const values = new Float64Array(found.length * STRIDE);
    const newIds: string[] = [];
    found.forEach(([track, at], order) => {
      let known = this.known.get(track.deviceId);
      if (known === undefined) {
        known = { device: this.known.size, ts: 0 };
        this.known.set(track.deviceId, known);
        newIds.push(track.deviceId);
      }
      known.ts = track.ts[at] as number;
      const { lat, lon, speed, course } = track;
      values.set([known.device, lat[at] as number, lon[at] as number, known.ts, speed[at] as number, course[at] as number], order * STRIDE);
    });
    return { newIds, values, replaces };
  }

  /** Ask for the first piece that is missing: the one that is played, then where devices were before it, then the next ones. */
  private fetch(): void {
    let timeMs = this.atMs;
    for (let ahead = 0; ahead <= AHEAD; ahead++) {
      const chunk = this.chunks.find(timeMs, this.stepMs);
      if (chunk === undefined) return this.fetchAt(timeMs, ahead > 0 ? SHORTEST_AHEAD_MS : 1);
      if (this.restarting && this.chunks.before(chunk.fromMs) === undefined) return this.chunks.fetch(spanBefore(chunk));
      timeMs = chunk.toMs;
    }
  }

  private fetchAt(timeMs: number, shortestMs: number): void {
    const { stepMs } = this;
    const span = spanAt(timeMs, stepMs);
    let { fromMs } = span;
    // The server may have cut what it gave of this piece.
    for (let part = this.chunks.from(fromMs, stepMs); part !== undefined; part = this.chunks.from(fromMs, stepMs)) fromMs = part.toMs;
    const toMs = Math.min(span.toMs, Math.floor(this.endMs()));
    if (toMs === span.toMs || toMs - fromMs >= shortestMs) this.chunks.fetch({ fromMs, toMs, stepMs });
  }
}

function spanBefore(chunk: Chunk): Span {
  return { fromMs: chunk.fromMs - LOOK_BACK_MS, toMs: chunk.fromMs, stepMs: 0, newest: LOOK_BACK_POSITIONS };
}

/** How many of these rising times are no later than a time. */
function countUntil(ts: Float64Array, timeMs: number): number {
  const at = ts.findIndex((time) => time > timeMs);
  return at < 0 ? ts.length : at;
}
