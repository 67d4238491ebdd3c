/** The operator's base map: vector tiles of one archive, in the layers of Protomaps, dark and light. */
import { layers, namedFlavor, type Flavor } from "@protomaps/basemaps";
import type { AddProtocolAction, ExpressionSpecification, LayerSpecification, VectorSourceSpecification } from "maplibre-gl";
import { PMTiles, ResolvedValueCache } from "pmtiles";

/** Name of the source and scheme of its addresses, by which MapLibre asks here for tiles; ids of layers begin with it. */
const TILES = "tiles";
const MAX_ATTRIBUTION_LENGTH = 200;
/** Layers of nothing but pictures, which would have to be loaded too, and the one that would cover the outlines. */
const LEFT_OUT = new Set(["background", "roads_oneway", "roads_shields"]);
/** What a race goes past; benches, shops and the like would hide it. */
const POIS = ["aerodrome", "beach", "forest", "marina", "park", "peak", "stadium", "station"];

/** Where it differs from Protomaps: land continues that of the outlines, and all else can be told from it, in the dark too. */
const DARK: Partial<Flavor> = {
  earth: "#131c2d",
  water: "#1d3a5f",
  ...tinted(["wood_a", "wood_b", "park_a", "park_b"], "#16302e"),
  ...tinted(["scrub_a", "scrub_b"], "#182931"),
  ...tinted(["other", "minor_service", "minor_a", "minor_b"], "#2b3b58"),
  ...tinted(["major", "link", "bridges_major", "bridges_minor", "bridges_link", "bridges_other"], "#3a4d70"),
  ...tinted(["highway", "bridges_highway"], "#4b6088"),
  ...tinted(["minor_casing", "minor_service_casing", "major_casing_early", "major_casing_late"], "#0e1626"),
  ...tinted(["highway_casing_early", "highway_casing_late", "bridges_major_casing", "bridges_highway_casing"], "#0e1626"),
  ...tinted(["roads_label_minor", "roads_label_major", "subplace_label", "ocean_label"], "#8ea1c2"),
  ...tinted(["roads_label_minor_halo", "roads_label_major_halo", "subplace_label_halo", "city_label_halo"], "#0e1626"),
  city_label: "#aebdd8",
  railway: "#06090f",
  buildings: "#22304a",
};
const LIGHT: Partial<Flavor> = {
  earth: "#f8f8f5",
  water: "#aed1e6",
  ...tinted(["wood_a", "wood_b", "park_a", "park_b"], "#d3e6cf"),
  ...tinted(["scrub_a", "scrub_b"], "#e6efd9"),
  ...tinted(["other", "minor_service", "minor_a", "minor_b", "major", "link"], "#ffffff"),
  ...tinted(["highway", "bridges_highway"], "#fce6b4"),
  ...tinted(["minor_casing", "minor_service_casing", "major_casing_early", "major_casing_late"], "#d5d0c5"),
  ...tinted(["highway_casing_early", "highway_casing_late", "bridges_highway_casing"], "#dcbc74"),
  ...tinted(["roads_label_minor", "roads_label_major", "subplace_label", "ocean_label"], "#5f6b7c"),
  city_label: "#39434f",
  buildings: "#e2ddd3",
};

function tinted(names: readonly (keyof Flavor)[], color: string): Partial<Flavor> {
  return Object.fromEntries(names.map((name) => [name, color]));
}

export interface Tiles {
  /** What the source is to be called; the ids of its layers begin with it. */
  readonly id: string;
  readonly source: VectorSourceSpecification;
  layers(dark: boolean): LayerSpecification[];
}

/** Read what an archive says of itself. Rejects when it cannot be read. */
export async function openTiles(url: string, addProtocol: (name: string, action: AddProtocolAction) => void): Promise<Tiles> {
  // The library's other cache keeps what failed, so that a moment without network would leave holes for good.
  const archive = new PMTiles(url, new ResolvedValueCache());
  // One after the other: side by side each would ask for the archive's beginning.
  const header = await archive.getHeader();
  const metadata = await archive.getMetadata();
  addProtocol(TILES, async (request, { signal }) => {
    const [z, x, y] = request.url.slice(`${TILES}://`.length).split("/").map(Number);
    const tile = await archive.getZxy(z ?? 0, x ?? 0, y ?? 0, signal);
    // Where there is nothing, nothing is drawn: an error would be reported.
    return { data: tile?.data ?? new ArrayBuffer(0) };
  });
  return {
    id: TILES,
    source: {
      type: "vector",
      tiles: [`${TILES}://{z}/{x}/{y}`],
      minzoom: header.minZoom,
      maxzoom: header.maxZoom,
      bounds: [header.minLon, header.minLat, header.maxLon, header.maxLat],
      attribution: attributionOf(metadata),
    },
    layers: tileLayers,
  };
}

/** Whose data it is, as text: the archive's HTML is not ours. */
function attributionOf(metadata: unknown): string {
  const given = typeof metadata === "object" && metadata !== null && "attribution" in metadata ? metadata.attribution : undefined;
  if (typeof given !== "string") return "";
  const text = new DOMParser().parseFromString(given, "text/html").body.textContent.replace(/\s+/g, " ").trim();
  const span = document.createElement("span");
  span.textContent = [...text].slice(0, MAX_ATTRIBUTION_LENGTH).join("");
  return span.innerHTML;
}

export function tileLayers(dark: boolean): LayerSpecification[] {
  const flavor: Flavor = { ...namedFlavor(dark ? "dark" : "light"), ...(dark ? DARK : LIGHT) };
  const all = layers(TILES, flavor, { lang: "en" }).filter(({ id }) => !LEFT_OUT.has(id));
  const drawn = all.flatMap((layer) => (layer.id === "water" ? [...contourLayers(dark), layer] : [layer]));
  return drawn.map((layer) => withoutPictures({ ...layer, id: `${TILES}-${layer.id}` } as LayerSpecification));
}

/** Lines of equal height, where the archive has a layer of them. */
function contourLayers(dark: boolean): LayerSpecification[] {
  const source = { source: TILES, "source-layer": "contours" } as const;
  const isIndex: ExpressionSpecification = ["==", ["%", ["get", "elevation"], 100], 0];
  const color = dark ? "#2c3d57" : "#d9c9ac";
  return [
    {
      ...{ id: "contours", type: "line", ...source },
      paint: { "line-color": color, "line-width": ["case", isIndex, 1.1, 0.6], "line-opacity": 0.8 },
    },
    {
      ...{ id: "contours_label", type: "symbol", ...source, minzoom: 13, filter: isIndex },
      layout: { "symbol-placement": "line", "text-field": ["to-string", ["get", "elevation"]], "text-font": ["sans-serif"], "text-size": 10 },
      paint: { "text-color": dark ? "#5d7396" : "#a58f66", "text-halo-color": dark ? "#131c2d" : "#f8f8f5", "text-halo-width": 1 },
    },
  ];
}

/** A layer without pictures, and with texts in the reader's own font: neither has to be loaded. */
function withoutPictures(layer: LayerSpecification): LayerSpecification {
  if (layer.type !== "symbol") return layer;
  const { "icon-image": _, ...layout } = JSON.parse(JSON.stringify(layer.layout).replaceAll(/"Noto Sans[^"]*"/g, '"sans-serif"'));
  if (layer.id !== `${TILES}-pois`) return { ...layer, layout };
  return { ...layer, layout, filter: ["all", ["in", ["get", "kind"], ["literal", POIS]], layer.filter] as never };
}
