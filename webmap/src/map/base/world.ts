/** The outlines of countries, and where to write their names, from the bundled atlas. */
import type { Feature, FeatureCollection, Geometry, Point, Position } from "geojson";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import { unroll } from "./antimeridian.ts";
import type { WorldData } from "./style.ts";

type Atlas = Topology<{ countries: GeometryCollection<{ name: string }> }>;

export async function loadWorld(url: string): Promise<WorldData> {
  const response = await fetch(url, { priority: "low" });
  if (!response.ok) throw new Error(`The world outlines could not be loaded (HTTP ${response.status}).`);
  const atlas = (await response.json()) as Atlas;
  const countries = feature(atlas, atlas.objects.countries);
  for (const country of countries.features) country.geometry = unroll(country.geometry);
  const names = countries.features.map(nameOf).filter((found) => found !== undefined);
  return { countries, names: { type: "FeatureCollection", features: names } satisfies FeatureCollection };
}

function nameOf(country: Feature<Geometry, { name: string }>): Feature<Point> | undefined {
  const { geometry } = country;
  const polygons =
    geometry?.type === "Polygon" ? [geometry.coordinates] : geometry?.type === "MultiPolygon" ? geometry.coordinates : [];
  const rings = polygons.map((polygon) => polygon[0] ?? []).map((ring) => centroid(ring));
  const largest = rings.sort((one, other) => other.area - one.area)[0];
  if (largest === undefined || largest.area === 0) return undefined;
  return {
    type: "Feature",
    properties: { name: country.properties.name, area: largest.area },
    geometry: { type: "Point", coordinates: largest.center },
  };
}

/** Area in square degrees and centre of gravity of a ring. */
function centroid(ring: readonly Position[]): { area: number; center: Position } {
  let [twice, x, y] = [0, 0, 0];
  for (let at = 0; at + 1 < ring.length; at++) {
    const [x0 = 0, y0 = 0] = ring[at] ?? [];
    const [x1 = 0, y1 = 0] = ring[at + 1] ?? [];
    const cross = x0 * y1 - x1 * y0;
    twice += cross;
    x += (x0 + x1) * cross;
    y += (y0 + y1) * cross;
  }
  return twice === 0 ? { area: 0, center: [0, 0] } : { area: Math.abs(twice / 2), center: [x / (3 * twice), y / (3 * twice)] };
}
