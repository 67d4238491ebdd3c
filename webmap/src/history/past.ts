/** Past positions as the server gives them, checked, and packed into columns of numbers. */

/** Positions of one device, oldest first. */
export interface Track {
  readonly deviceId: string;
  /** Epoch milliseconds. */
  readonly ts: Float64Array;
  readonly lat: Float64Array;
  readonly lon: Float64Array;
  readonly speed: Float32Array;
  readonly course: Float32Array;
}

export interface Past {
  readonly tracks: readonly Track[];
  /** How far it goes, epoch milliseconds: less far than asked when the answer was cut. */
  readonly toMs: number;
}

/** When an event began, and when its last position was taken, epoch milliseconds. */
export interface Extent {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Check an answer; undefined if it is not one. */
export function parseExtent(body: unknown): Extent | "empty" | undefined {
  const [fromMs, toMs] = [field(body, "from"), field(body, "to")];
  if (fromMs === null && toMs === null) return "empty";
  return typeof fromMs === "number" && typeof toMs === "number" && fromMs <= toMs ? { fromMs, toMs } : undefined;
}

/** Check an answer; undefined if it is not one. */
export function parsePast(body: unknown): Past | undefined {
  const devices = field(body, "devices");
  const toMs = field(body, "to");
  if (!Array.isArray(devices) || typeof toMs !== "number") return undefined;
  const tracks = devices.map(parseTrack);
  return tracks.every((track) => track !== undefined) ? { tracks, toMs } : undefined;
}

function parseTrack(value: unknown): Track | undefined {
  const deviceId = field(value, "deviceId");
  const [ts, lat, lon, speed, course] = ["ts", "lat", "lon", "speed", "course"].map((name) => numbers(field(value, name)));
  if (typeof deviceId !== "string" || ts === undefined || lat === undefined || lon === undefined) return undefined;
  if (speed === undefined || course === undefined) return undefined;
  if ([lat, lon, speed, course].some((column) => column.length !== ts.length)) return undefined;
  return { deviceId, ts, lat, lon, speed: Float32Array.from(speed), course: Float32Array.from(course) };
}

function numbers(value: unknown): Float64Array | undefined {
  if (!Array.isArray(value)) return undefined;
  const column = Float64Array.from(value as readonly number[]);
  return column.every(Number.isFinite) ? column : undefined;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
