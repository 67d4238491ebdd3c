/** The devices as the shaders read them. */
import { STALE_AFTER_MS, type DeviceStore } from "../../devices/store.ts";

/** from (4), to (4), glide start and length, speed, course, flags, head sequence, and two unused. */
export const DEVICE_FLOATS = 16;
const FROM = 0;
const TO = 4;
const GLIDE = 8;
const MOTION = 10;
const FLAGS = 12;

const ABSENT = -1;
const STALE = 1;
const SELECTED = 2;

export interface Clock {
  /** Monotonic; times the glides. */
  readonly timeMs: number;
  /** The server's wall clock; tells the age of positions. */
  readonly nowMs: number;
}

/** Write every device into `target`; return when the last glide ends, by the monotonic clock. */
export function fillDevices(target: Float32Array, store: DeviceStore, selected: number | undefined, clock: Clock): number {
  const { columns } = store;
  let glidingUntil = 0;
  for (let device = 0; device < store.ids.length; device++) {
    const at = device * DEVICE_FLOATS;
    if (store.present[device] !== 1) {
      target[at + FLAGS] = ABSENT;
      continue;
    }
    const start = columns.glideStart[device] ?? 0;
    const length = columns.glideMs[device] ?? 0;
    split(target, at + FROM, columns.fromX[device] ?? 0, columns.fromY[device] ?? 0);
    split(target, at + TO, columns.x[device] ?? 0, columns.y[device] ?? 0);
    target[at + GLIDE] = start - clock.timeMs;
    target[at + GLIDE + 1] = length;
    target[at + MOTION] = columns.speed[device] ?? 0;
    target[at + MOTION + 1] = columns.course[device] ?? 0;
    const stale = clock.nowMs - (columns.ts[device] ?? 0) > STALE_AFTER_MS ? STALE : 0;
    target[at + FLAGS] = stale + (device === selected ? SELECTED : 0);
    target[at + FLAGS + 1] = store.trails.heads[device] ?? 0;
    if (start + length > glidingUntil) glidingUntil = start + length;
  }
  return glidingUntil;
}

function split(target: Float32Array, at: number, x: number, y: number): void {
  const coarseX = Math.fround(x);
  const coarseY = Math.fround(y);
  target[at] = coarseX;
  target[at + 1] = coarseY;
  target[at + 2] = x - coarseX;
  target[at + 3] = y - coarseY;
}
