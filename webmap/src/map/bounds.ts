/** The rectangle that holds all devices. */
import type { Position } from "../feed/protocol.ts";

/** West, south, east, north in degrees. */
export type Bounds = [number, number, number, number];

/**
 * Undefined without positions. A tracker that restarted and has no satellites yet reports 0/0, which is in the Gulf of
 * Guinea: such positions count only if there are no others.
 */
export function boundsOf(positions: Iterable<Position>): Bounds | undefined {
  const all = [...positions];
  const fixed = all.filter(({ lat, lon }) => lat !== 0 || lon !== 0);
  const [first, ...others] = fixed.length > 0 ? fixed : all;
  if (first === undefined) return undefined;
  const bounds: Bounds = [first.lon, first.lat, first.lon, first.lat];
  for (const { lat, lon } of others) {
    bounds[0] = Math.min(bounds[0], lon);
    bounds[1] = Math.min(bounds[1], lat);
    bounds[2] = Math.max(bounds[2], lon);
    bounds[3] = Math.max(bounds[3], lat);
  }
  return bounds;
}
