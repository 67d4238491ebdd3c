/** How a course looks: a line, its kilometres by zoom, start, finish and other marks; their texts are in courseTexts.ts. */
import type { Feature, FeatureCollection } from "geojson";
import type { LayerSpecification } from "maplibre-gl";
import { boundsOf } from "./bounds.ts";
import { kilometres, type Course, type CourseMark, type MarkKind, type Place } from "../course/course.ts";

/** Kilometres that are shown from a zoom on: all, every fifth and so on. */
const ZOOMS: readonly [every: number, zoom: number][] = [[50, 3], [10, 7], [5, 9], [1, 11]];
const WORDS: Readonly<Record<MarkKind, string>> = { start: "Start", finish: "Finish", "start-finish": "Start / Finish", point: "" };

/** How often a line may cross the area that it is in: as often as in a race of hundreds of laps. */
const MAX_CROSSINGS = 500;

export const COURSE_SOURCE = "course";
/** The lowest layer. */
export const COURSE_EDGE = "course-edge";

/** A place of a course with its text, which may be empty, and the zoom from which on it is shown. */
export interface Mark {
  readonly kind: MarkKind | "kilometre";
  readonly text: string;
  readonly place: Place;
  readonly zoom: number;
}

export function marksOf({ lines, marks }: Course): Mark[] {
  const numbers = lines.flatMap(kilometres).map(({ km, place }): Mark => {
    const [, zoom = 0] = ZOOMS.find(([every]) => km % every === 0) ?? [];
    return { kind: "kilometre", text: `${km} km`, place, zoom };
  });
  return [...numbers, ...marks.map((mark): Mark => ({ kind: mark.kind, text: textOf(mark), place: mark.place, zoom: 0 }))];
}

export function courseData(course: Course | undefined): FeatureCollection {
  const lines = (course?.lines ?? []).map(
    ({ parts }): Feature => ({
      type: "Feature",
      properties: { kind: "line" },
      geometry: { type: "MultiLineString", coordinates: drawable(parts).map((part) => part.map(([lon, lat]) => [lon, lat])) },
    }),
  );
  const marks = (course === undefined ? [] : marksOf(course)).map(({ kind, zoom, place: [lon, lat] }): Feature => {
    return { type: "Feature", properties: { kind, zoom }, geometry: { type: "Point", coordinates: [lon, lat] } };
  });
  return { type: "FeatureCollection", features: [...lines, ...marks] };
}

/** A line without most of its points where it goes to and fro so often that nobody could tell, and drawing would take minutes. */
export function drawable(parts: readonly (readonly Place[])[]): readonly (readonly Place[])[] {
  const [west, south, east, north] = boundsOf([], { lines: [{ name: "", parts }], marks: [] }) ?? [0, 0, 0, 0];
  const length = parts.flatMap((part) => part.slice(1).map(([lon, lat], at) => Math.hypot(lon - (part[at]?.[0] ?? lon), lat - (part[at]?.[1] ?? lat))));
  const crossings = length.reduce((sum, leg) => sum + leg, 0) / Math.max(Math.hypot(east - west, north - south), Number.MIN_VALUE);
  if (crossings <= MAX_CROSSINGS) return parts;
  // An odd number: every other point of a zigzag is on the same side.
  const every = Math.ceil(crossings / MAX_CROSSINGS) | 1;
  const kept = parts.length > MAX_CROSSINGS ? parts.filter((_, at) => at % every === 0) : parts;
  return kept.map((part) => part.filter((_, at) => at % every === 0 || at === part.length - 1));
}

export function courseLayers(dark: boolean): LayerSpecification[] {
  const [line, edge] = dark ? ["#aebfe0", "#0a101c"] : ["#4a5b7c", "#ffffff"];
  const [start, finish] = dark ? ["#2ee0b0", "#ff7a74"] : ["#008a64", "#c8102e"];
  const shown = ["<=", ["get", "zoom"], ["zoom"]] as const;
  const isKilometre = ["==", ["get", "kind"], "kilometre"] as const;
  const isMark = ["all", ["!=", ["get", "kind"], "kilometre"], ["!=", ["get", "kind"], "line"]] as const;
  const width = (px: number): ["interpolate", ["linear"], ["zoom"], ...number[]] => ["interpolate", ["linear"], ["zoom"], 8, px / 2, 14, px];
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
      ...{ id: "course-marks", type: "circle", source: COURSE_SOURCE, filter: isMark },
      paint: {
        "circle-radius": ["match", ["get", "kind"], "point", 5, 7],
        "circle-color": ["match", ["get", "kind"], ["start", "start-finish"], start, "finish", finish, line],
        "circle-stroke-color": edge,
        "circle-stroke-width": 2,
      },
    },
  ] as LayerSpecification[];
}

function textOf({ kind, name }: CourseMark): string {
  return name === "" ? WORDS[kind] : name;
}
