/** The rectangle that holds all devices and the course. */
import { placesOf, type Course, type Place } from "../course/course.ts";
import type { Position } from "../feed/protocol.ts";

/** West, south, east, north in degrees. */
export type Bounds = [number, number, number, number];

/**
 * Undefined without anything. A tracker that restarted and has no satellites yet reports 0/0, which is in the Gulf of
 * Guinea: such positions count only if there is nothing else.
 */
export function boundsOf(positions: Iterable<Position>, course?: Course): Bounds | undefined {
  const all = [...positions].map(({ lon, lat }): Place => [lon, lat]);
  const fixed = [...all.filter(([lon, lat]) => lat !== 0 || lon !== 0), ...(course === undefined ? [] : placesOf(course))];
  const [first, ...others] = fixed.length > 0 ? fixed : all;
  if (first === undefined) return undefined;
  const bounds: Bounds = [...first, ...first];
  for (const [lon, lat] of others) {
    bounds[0] = Math.min(bounds[0], lon);
    bounds[1] = Math.min(bounds[1], lat);
    bounds[2] = Math.max(bounds[2], lon);
    bounds[3] = Math.max(bounds[3], lat);
  }
  return bounds;
}
