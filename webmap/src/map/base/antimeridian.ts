/** Rings that cross 180° continue beyond it instead of jumping to the other side: the map expects this. */
import type { Geometry, Position } from "geojson";

/** Unroll one closed ring. A ring around the south pole is closed along the pole. */
export function unrollRing(ring: readonly Position[]): Position[] {
  let turns = 0;
  const unrolled = ring.map(([lon = 0, lat = 0], at): Position => {
    const before = ring[at - 1]?.[0] ?? lon;
    if (lon - before > 180) turns -= 1;
    else if (before - lon > 180) turns += 1;
    return [lon + 360 * turns, lat];
  });
  const [first, last] = [unrolled[0], unrolled.at(-1)];
  if (turns === 0 || first === undefined || last === undefined) return unrolled;
  return [...unrolled, [last[0] ?? 0, -90], [first[0] ?? 0, -90], first];
}

export function unroll<T extends Geometry>(geometry: T): T {
  if (geometry.type === "Polygon") return { ...geometry, coordinates: geometry.coordinates.map(unrollRing) };
  if (geometry.type === "MultiPolygon") {
    return { ...geometry, coordinates: geometry.coordinates.map((polygon) => polygon.map(unrollRing)) };
  }
  return geometry;
}
