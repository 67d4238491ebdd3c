/** Trails that reach back to before the page was opened. */
import type { DeviceStore } from "../devices/store.ts";
import type { Archive, Span } from "./archive.ts";

/** As far back as trails go where trackers send rarely. */
const LONGEST_MS = 3_600_000;
/** A crowd that opens the page within this time asks for the same, which the server then reads once. */
const TOGETHER_MS = 10_000;

/** What to read for trails of so many points that end now. */
export function trailSpan(points: number, nowMs: number): Span {
  const toMs = (Math.floor(nowMs / TOGETHER_MS) + 1) * TOGETHER_MS;
  return { fromMs: toMs - LONGEST_MS, toMs, stepMs: 0, newest: points };
}

/** Lead the trails back as far as they hold points. */
export async function reachBack(
  archive: Archive,
  eventId: string,
  store: DeviceStore,
  nowMs: number,
  signal: AbortSignal,
): Promise<void> {
  const past = await archive.read(eventId, trailSpan(store.trails.points, nowMs), signal);
  for (const { deviceId, ts, lat, lon } of past?.tracks ?? []) store.reachBack(deviceId, ts, lat, lon);
}
