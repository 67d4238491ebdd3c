/** The rectangle that holds all devices and the course. */
import { placesOf, type Course, type Place } from "../course/course.ts";
import type { Position } from "../feed/protocol.ts";

/** West, south, east, north in degrees; east is above 180 where the rectangle crosses 180° of longitude. */
export type Bounds = [number, number, number, number];

/**
 * Undefined without anything. A tracker that restarted and has no satellites yet reports 0/0, which is in the Gulf of
 * Guinea: such positions count only if there is nothing else.
 */
export function boundsOf(positions: Iterable<Position>, course?: Course): Bounds | undefined {
  const all = [...positions].map(({ lon, lat }): Place => [lon, lat]);
  const fixed = [...all.filter(([lon, lat]) => lat !== 0 || lon !== 0), ...(course === undefined ? [] : placesOf(course))];
  const places = fixed.length > 0 ? fixed : all;
  if (places.length === 0) return undefined;
  const [west, east] = narrowest(places.map(([lon]) => lon));
  const [south, north] = places.reduce(([low, high], [, lat]) => [Math.min(low, lat), Math.max(high, lat)], [90, -90]);
  return [west, south, east, north];
}

/** The narrowest way around the earth that meets all these longitudes: all but the widest gap between two of them. */
function narrowest(longitudes: readonly number[]): [west: number, east: number] {
  const eastwards = Float64Array.from(longitudes).sort();
  const first = eastwards[0] ?? 0;
  let [west, east] = [first, eastwards.at(-1) ?? 0];
  for (let at = 1; at < eastwards.length; at++) {
    const [before, after] = [eastwards[at - 1] ?? 0, eastwards[at] ?? 0];
    if (before + 360 - after < east - west) [west, east] = [after, before + 360];
  }
  return [west, east];
}
