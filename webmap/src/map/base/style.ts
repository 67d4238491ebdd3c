/** The base map: outlines, borders, names and a grid, dark and light, without requests to other servers. */
import type { FeatureCollection } from "geojson";
import type { StyleSpecification } from "maplibre-gl";

interface Palette {
  readonly water: string;
  readonly land: string;
  readonly border: string;
  readonly coast: string;
  readonly grid: string;
  readonly name: string;
  readonly halo: string;
}

const DARK: Palette = {
  water: "#0a101c",
  land: "#131c2d",
  border: "#2b3a55",
  coast: "#34486b",
  grid: "rgba(130, 160, 210, 0.11)",
  name: "#6d7f9f",
  halo: "#0d1525",
};

const LIGHT: Palette = {
  water: "#dbe7f1",
  land: "#f8f8f5",
  border: "#c3ccd6",
  coast: "#a3b5c8",
  grid: "rgba(50, 80, 120, 0.10)",
  name: "#72808f",
  halo: "#fbfbf9",
};

export interface WorldData {
  readonly countries: FeatureCollection;
  readonly names: FeatureCollection;
}

const EMPTY: FeatureCollection = { type: "FeatureCollection", features: [] };
/** What there is of the world before it has come. */
export const NO_WORLD: WorldData = { countries: EMPTY, names: EMPTY };

export function mapStyle(world: WorldData, dark: boolean): StyleSpecification {
  const palette = dark ? DARK : LIGHT;
  return {
    version: 8,
    sources: {
      countries: { type: "geojson", data: world.countries, tolerance: 0.2 },
      names: { type: "geojson", data: world.names },
      grid: { type: "geojson", data: EMPTY },
    },
    layers: [
      { id: "water", type: "background", paint: { "background-color": palette.water } },
      { id: "land", type: "fill", source: "countries", paint: { "fill-color": palette.land } },
      { id: "grid", type: "line", source: "grid", paint: { "line-color": palette.grid, "line-width": 1 } },
      {
        id: "borders",
        type: "line",
        source: "countries",
        layout: { "line-join": "round" },
        paint: {
          "line-color": ["interpolate", ["linear"], ["zoom"], 2, palette.border, 7, palette.coast],
          "line-width": ["interpolate", ["linear"], ["zoom"], 1, 0.6, 6, 1.2, 12, 2],
        },
      },
      {
        id: "names",
        type: "symbol",
        source: "names",
        maxzoom: 9,
        layout: {
          "text-field": ["get", "name"],
          "text-font": ["sans-serif"],
          "text-size": ["interpolate", ["linear"], ["zoom"], 2, 10, 6, 15],
          "text-letter-spacing": 0.12,
          "text-transform": "uppercase",
          "text-max-width": 8,
          "symbol-sort-key": ["-", ["get", "area"]],
        },
        paint: { "text-color": palette.name, "text-halo-color": palette.halo, "text-halo-width": 1.2 },
      },
    ],
  };
}
