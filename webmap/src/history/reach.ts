/** Trails that reach back to before the page was opened. */
import type { DeviceStore } from "../devices/store.ts";
import type { Archive, Span } from "./archive.ts";

/** As far back as trails go where trackers send rarely. */
const LONGEST_MS = 3_600_000;
/** No trail has points closer to each other. */
const SPACING_MS = 1_000;
/** An answer may be cut; a span that needs more of them is of no race. */
const MAX_ANSWERS = 8;

/** What to read for trails of so many points that end now: every second for as long as they last so, and thinner before. */
export function trailSpans(points: number, nowMs: number): readonly Span[] {
  const toMs = Math.floor(nowMs / SPACING_MS) * SPACING_MS;
  const middleMs = toMs - points * SPACING_MS;
  const stepMs = Math.ceil(LONGEST_MS / points / SPACING_MS) * SPACING_MS;
  return [
    { fromMs: middleMs, toMs: toMs + SPACING_MS, stepMs: SPACING_MS },
    { fromMs: toMs - LONGEST_MS, toMs: middleMs, stepMs },
  ];
}

/** Lead the trails back as far as they hold points, nearest first. */
export async function reachBack(
  archive: Archive,
  eventId: string,
  store: DeviceStore,
  nowMs: number,
  signal: AbortSignal,
): Promise<void> {
  for (const span of trailSpans(store.trails.points, nowMs)) {
    const columns = await readWhole(archive, eventId, span, signal);
    for (const [deviceId, { ts, lat, lon }] of columns) {
      store.reachBack(deviceId, Float64Array.from(ts), Float64Array.from(lat), Float64Array.from(lon));
    }
  }
}

interface Columns {
  readonly ts: number[];
  readonly lat: number[];
  readonly lon: number[];
}

/** Read a span with as many requests as it takes; what cannot be read is left out. */
async function readWhole(archive: Archive, eventId: string, span: Span, signal: AbortSignal): Promise<Map<string, Columns>> {
  const found = new Map<string, Columns>();
  let { fromMs } = span;
  for (let answers = 0; answers < MAX_ANSWERS && fromMs < span.toMs; answers++) {
    const past = await archive.read(eventId, { ...span, fromMs }, signal);
    if (past === undefined) break;
    for (const { deviceId, ts, lat, lon } of past.tracks) {
      const known = found.get(deviceId) ?? { ts: [], lat: [], lon: [] };
      known.ts.push(...ts);
      known.lat.push(...lat);
      known.lon.push(...lon);
      found.set(deviceId, known);
    }
    fromMs = past.toMs;
  }
  return signal.aborted ? new Map() : found;
}
