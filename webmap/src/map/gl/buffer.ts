/** The devices as the shaders read them. */
import type { DeviceStore } from "../../devices/store.ts";

/** from (4), to (4), glide start and length, speed, course, flags, head sequence, and two unused. */
export const DEVICE_FLOATS = 16;
const FROM = 0;
const TO = 4;
const GLIDE = 8;
const MOTION = 10;
const FLAGS = 12;

const ABSENT = -1;
const OVERDUE = 1;
const SELECTED = 2;

export interface Clock {
  /** Monotonic; times the glides. */
  readonly timeMs: number;
  /** The server's wall clock; tells the age of positions. */
  readonly nowMs: number;
}

/** Until when what was written is all there is to draw. */
export interface Validity {
  /** When the last glide ends, by the monotonic clock. */
  readonly glidingUntil: number;
  /** The fastest glide, in units of the Mercator square per millisecond. */
  readonly fastest: number;
  /** When the next device becomes overdue, by the server's clock. */
  readonly overdueAt: number;
}

/** Write every device into `target`. */
export function fillDevices(target: Float32Array, store: DeviceStore, selected: number | undefined, clock: Clock): Validity {
  const { x, y, fromX, fromY, glideStart, glideMs, speed, course, ts } = store.columns;
  let [glidingUntil, fastest, overdueAt] = [0, 0, Infinity];
  for (let device = 0; device < store.ids.length; device++) {
    const at = device * DEVICE_FLOATS;
    if (store.present[device] !== 1 || !store.shows(device, selected)) {
      target[at + FLAGS] = ABSENT;
      continue;
    }
    const [toX, toY, startX, startY] = [x[device] as number, y[device] as number, fromX[device] as number, fromY[device] as number];
    const [start, length] = [glideStart[device] as number, glideMs[device] as number];
    split(target, at + FROM, startX, startY);
    split(target, at + TO, toX, toY);
    target[at + GLIDE] = start - clock.timeMs;
    target[at + GLIDE + 1] = length;
    target[at + MOTION] = speed[device] as number;
    target[at + MOTION + 1] = course[device] as number;
    const dueMs = (ts[device] as number) + store.overdueAfterMs(device);
    const isOverdue = clock.nowMs > dueMs;
    target[at + FLAGS] = (isOverdue ? OVERDUE : 0) + (device === selected ? SELECTED : 0);
    target[at + FLAGS + 1] = store.trails.heads[device] as number;
    if (!isOverdue && dueMs < overdueAt) overdueAt = dueMs;
    if (start + length <= clock.timeMs) continue;
    glidingUntil = Math.max(glidingUntil, start + length);
    fastest = Math.max(fastest, (Math.abs(toX - startX) + Math.abs(toY - startY)) / length);
  }
  return { glidingUntil, fastest, overdueAt };
}

function split(target: Float32Array, at: number, x: number, y: number): void {
  const coarseX = Math.fround(x);
  const coarseY = Math.fround(y);
  target[at] = coarseX;
  target[at + 1] = coarseY;
  target[at + 2] = x - coarseX;
  target[at + 3] = y - coarseY;
}
