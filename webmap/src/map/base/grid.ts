/** A grid of meridians and parallels for the part of the world in view: without it, nothing would show that a marker moves. */
import type { Feature, FeatureCollection } from "geojson";

export interface Bounds {
  readonly west: number;
  readonly south: number;
  readonly east: number;
  readonly north: number;
}

const STEPS = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001] as const;
/** About this many lines across the view. */
const LINES = 8;

/** Degrees between two lines in a view of this width, in degrees. */
export function gridStep(widthDegrees: number): number {
  return STEPS.find((step) => widthDegrees / step >= LINES) ?? 0.001;
}

export function gridLines(bounds: Bounds): FeatureCollection {
  const step = gridStep(bounds.east - bounds.west);
  const south = Math.max(-85, bounds.south - step);
  const north = Math.min(85, bounds.north + step);
  const west = bounds.west - step;
  const east = Math.min(west + 360, bounds.east + step);
  const meridians = multiples(west, east, step).map((lon) => line([lon, south], [lon, north]));
  const parallels = multiples(south, north, step).map((lat) => line([west, lat], [east, lat]));
  return { type: "FeatureCollection", features: [...meridians, ...parallels] };
}

function multiples(low: number, high: number, step: number): number[] {
  const found: number[] = [];
  // A multiple, not a running sum: a sum of thousandths drifts.
  for (let count = Math.ceil(low / step); count * step <= high; count++) found.push(count * step);
  return found;
}

function line(start: [number, number], end: [number, number]): Feature {
  return { type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: [start, end] } };
}
