/** The course of an event as the server gives it, checked, and where its kilometres are. */

/** Longitude and latitude in degrees. */
export type Place = readonly [number, number];

export interface CourseLine {
  readonly name: string;
  /** Parted where it crosses 180° of longitude. */
  readonly parts: readonly (readonly Place[])[];
}

export const MARK_KINDS = ["start", "finish", "start-finish", "point"] as const;
export type MarkKind = (typeof MARK_KINDS)[number];

export interface CourseMark {
  readonly kind: MarkKind;
  readonly name: string;
  readonly place: Place;
}

export interface Course {
  readonly lines: readonly CourseLine[];
  readonly marks: readonly CourseMark[];
}

export interface Kilometre {
  readonly km: number;
  readonly place: Place;
}

/** What the server sends at most; anything longer is not the server's. */
const MAX_FEATURES = 600;
const MAX_PLACES = 25_000;
const MAX_NAME_LENGTH = 80;
const EARTH_RADIUS_KM = 6_371;
/** More marks than that could not be told apart. */
const MAX_KILOMETRES = 500;
const STEPS_KM = [1, 5, 10, 50] as const;

/** Check a GeoJSON collection; undefined if it is none or has no line. */
export function parseCourse(body: unknown): Course | undefined {
  const features = field(body, "features");
  if (!Array.isArray(features) || features.length > MAX_FEATURES) return undefined;
  const lines: CourseLine[] = [];
  const marks: CourseMark[] = [];
  for (const feature of features) {
    const geometry = field(feature, "geometry");
    const coordinates = field(geometry, "coordinates");
    const kind = field(field(feature, "properties"), "kind");
    const name = toName(field(field(feature, "properties"), "name"));
    if (field(geometry, "type") === "MultiLineString" && Array.isArray(coordinates)) {
      const parts = coordinates.map(toPlaces).filter((part) => part.length > 1);
      if (parts.length > 0) lines.push({ name, parts });
    } else if (field(geometry, "type") === "Point" && isPlace(coordinates) && isKind(kind)) {
      marks.push({ kind, name, place: [coordinates[0], coordinates[1]] });
    }
  }
  const places = lines.flatMap(({ parts }) => parts).reduce((sum, part) => sum + part.length, 0);
  return lines.length > 0 && places <= MAX_PLACES ? { lines, marks } : undefined;
}

/** All places of a course, for those who want to see all of it. */
export function* placesOf(course: Course): Generator<Place> {
  for (const { parts } of course.lines) for (const part of parts) yield* part;
  for (const { place } of course.marks) yield place;
}

/** Where a line has come how far, in whole kilometres; every fifth, tenth or fiftieth of a long one. */
export function kilometres({ parts }: CourseLine): Kilometre[] {
  const legs = parts.flatMap((part) => part.slice(1).map((to, at): [Place, Place] => [part[at] as Place, to]));
  const lengths = legs.map(([from, to]) => distanceKm(from, to));
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const step = STEPS_KM.find((every) => total / every <= MAX_KILOMETRES);
  const found: Kilometre[] = [];
  let begin = 0;
  legs.forEach(([from, to], at) => {
    const length = lengths[at] ?? 0;
    // Without a step, that is on a line of no earthly race, there are none.
    for (let km = (found.length + 1) * (step ?? Infinity); km <= begin + length; km = (found.length + 1) * (step ?? Infinity)) {
      const share = length > 0 ? (km - begin) / length : 0;
      found.push({ km, place: [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share] });
    }
    begin += length;
  });
  return found;
}

export function distanceKm([lon1, lat1]: Place, [lon2, lat2]: Place): number {
  const radians = Math.PI / 180;
  const half = Math.sin(((lat2 - lat1) * radians) / 2) ** 2;
  const across = Math.cos(lat1 * radians) * Math.cos(lat2 * radians) * Math.sin(((lon2 - lon1) * radians) / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(half + across)));
}

function toPlaces(value: unknown): Place[] {
  return Array.isArray(value) ? value.slice(0, MAX_PLACES + 1).filter(isPlace).map(([lon, lat]): Place => [lon, lat]) : [];
}

function isPlace(value: unknown): value is Place {
  return Array.isArray(value) && within(value[0], 180) && within(value[1], 90);
}

function within(value: unknown, most: number): boolean {
  return typeof value === "number" && Math.abs(value) <= most;
}

function isKind(value: unknown): value is MarkKind {
  return MARK_KINDS.some((kind) => kind === value);
}

function toName(value: unknown): string {
  return typeof value === "string" ? [...value.slice(0, 2 * MAX_NAME_LENGTH)].slice(0, MAX_NAME_LENGTH).join("").trim() : "";
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
