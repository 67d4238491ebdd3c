/** How a course looks: a line, its kilometres by zoom, start, finish and other marks. */
import type { Feature, FeatureCollection } from "geojson";
import type { LayerSpecification } from "maplibre-gl";
import { kilometres, type Course, type CourseMark, type MarkKind } from "../course/course.ts";

/** Kilometres that are shown from a zoom on: all, every fifth and so on. */
const ZOOMS: readonly [every: number, zoom: number][] = [[50, 3], [10, 7], [5, 9], [1, 11]];
const WORDS: Readonly<Record<MarkKind, string>> = { start: "Start", finish: "Finish", "start-finish": "Start / Finish", point: "" };

export const COURSE_SOURCE = "course";
/** The lowest layer. */
export const COURSE_EDGE = "course-edge";
/** Layers whose features have a text. */
export const COURSE_TEXTS = ["course-kilometres", "course-names"] as const;

export function courseData(course: Course | undefined): FeatureCollection {
  const lines = (course?.lines ?? []).map(
    ({ parts }): Feature => ({
      type: "Feature",
      properties: { kind: "line" },
      geometry: { type: "MultiLineString", coordinates: parts.map((part) => part.map(([lon, lat]) => [lon, lat])) },
    }),
  );
  const marks = (course?.marks ?? []).map((mark) => point(mark.place, { kind: mark.kind, text: textOf(mark), zoom: 0 }));
  const numbers = (course?.lines ?? []).flatMap(kilometres).map(({ km, place }) => {
    const [, zoom = 0] = ZOOMS.find(([every]) => km % every === 0) ?? [];
    return point(place, { kind: "kilometre", text: `${km} km`, zoom });
  });
  return { type: "FeatureCollection", features: [...lines, ...numbers, ...marks] };
}

export function courseLayers(dark: boolean): LayerSpecification[] {
  const [line, edge, ink] = dark ? ["#aebfe0", "#0a101c", "#dbe5f7"] : ["#4a5b7c", "#ffffff", "#26344f"];
  const [start, finish] = dark ? ["#2ee0b0", "#ff7a74"] : ["#008a64", "#c8102e"];
  const shown = ["<=", ["get", "zoom"], ["zoom"]] as const;
  const isKilometre = ["==", ["get", "kind"], "kilometre"] as const;
  const isMark = ["all", ["!=", ["get", "kind"], "kilometre"], ["!=", ["get", "kind"], "line"]] as const;
  const width = (px: number): ["interpolate", ["linear"], ["zoom"], ...number[]] => ["interpolate", ["linear"], ["zoom"], 8, px / 2, 14, px];
  const text = { "text-field": ["get", "text"], "text-font": ["sans-serif"], "text-anchor": "top" } as const;
  const halo = { "text-color": ink, "text-halo-color": edge, "text-halo-width": 1.5 } as const;
  return [
    {
      ...{ id: COURSE_EDGE, type: "line", source: COURSE_SOURCE, filter: ["==", ["get", "kind"], "line"] },
      layout: { "line-join": "round", "line-cap": "round" },
      paint: { "line-color": edge, "line-width": width(9), "line-opacity": 0.8 },
    },
    {
      ...{ id: "course-line", type: "line", source: COURSE_SOURCE, filter: ["==", ["get", "kind"], "line"] },
      layout: { "line-join": "round", "line-cap": "round" },
      paint: { "line-color": line, "line-width": width(5) },
    },
    {
      ...{ id: "course-dots", type: "circle", source: COURSE_SOURCE, filter: ["all", isKilometre, shown] },
      paint: { "circle-radius": 3, "circle-color": edge, "circle-stroke-color": line, "circle-stroke-width": 1.5 },
    },
    {
      ...{ id: "course-kilometres", type: "symbol", source: COURSE_SOURCE, filter: ["all", isKilometre, shown] },
      layout: { ...text, "text-size": 11, "text-offset": [0, 0.5], "symbol-sort-key": ["get", "zoom"] },
      paint: halo,
    },
    {
      ...{ id: "course-marks", type: "circle", source: COURSE_SOURCE, filter: isMark },
      paint: {
        "circle-radius": ["match", ["get", "kind"], "point", 5, 7],
        "circle-color": ["match", ["get", "kind"], ["start", "start-finish"], start, "finish", finish, line],
        "circle-stroke-color": edge,
        "circle-stroke-width": 2,
      },
    },
    {
      ...{ id: "course-names", type: "symbol", source: COURSE_SOURCE, filter: isMark },
      layout: { ...text, "text-size": 12.5, "text-offset": [0, 0.8], "text-max-width": 9, "text-optional": true },
      paint: halo,
    },
  ] as LayerSpecification[];
}

function textOf({ kind, name }: CourseMark): string {
  return name === "" ? WORDS[kind] : name;
}

function point([lon, lat]: readonly [number, number], properties: { kind: string; text: string; zoom: number }): Feature {
  return { type: "Feature", properties, geometry: { type: "Point", coordinates: [lon, lat] } };
}
