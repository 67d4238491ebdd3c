/** What is shown, as the fragment of an address: nothing secret, and of what somebody else wrote only what can be. */

/** What is in view. */
export interface View {
  readonly lat: number;
  readonly lon: number;
  readonly zoom: number;
  /** Degrees from north, clockwise. */
  readonly bearing: number;
}

/** What a link opens; what it leaves open is undefined or empty. */
export interface Link {
  readonly eventId: string | undefined;
  readonly deviceId: string | undefined;
  readonly following: boolean;
  readonly filter: string;
  readonly order: string | undefined;
  readonly view: View | undefined;
  /** A time of the past, epoch milliseconds. */
  readonly timeMs: number | undefined;
}

const MAX_LENGTH = 200;
/** As far as maps reach that are drawn in Mercator's projection. */
const MAX_LATITUDE = 85.06;
const MAX_ZOOM = 22;
const NUMBER = /^-?\d{1,3}(\.\d+)?$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z$/;

/** Read the fragment of an address, with or without its `#`. */
export function parseLink(fragment: string): Link {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const text = (name: string): string | undefined => {
    const value = given.get(name) ?? "";
    return value === "" || value.length > MAX_LENGTH ? undefined : value;
  };
  const deviceId = text("device");
  return {
    eventId: text("event"),
    deviceId,
    following: deviceId !== undefined && given.get("follow") === "1",
    filter: text("filter") ?? "",
    order: text("sort"),
    view: parseView(text("view") ?? ""),
    timeMs: parseTime(text("time") ?? ""),
  };
}

/** Write what is shown as a fragment, without its `#`. */
export function formatLink({ eventId, deviceId, following, filter, order, view, timeMs }: Link): string {
  const params = new URLSearchParams();
  if (eventId !== undefined) params.set("event", eventId);
  if (deviceId !== undefined) params.set("device", deviceId);
  if (following) params.set("follow", "1");
  if (filter !== "") params.set("filter", filter);
  if (order !== undefined) params.set("sort", order);
  if (view !== undefined) params.set("view", formatView(view));
  if (timeMs !== undefined) params.set("time", new Date(timeMs).toISOString().replace(/\.\d+Z$/, "Z"));
  // Both may stand there as they are, and are easier to read.
  return params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

function parseView(text: string): View | undefined {
  const parts = text.split(",");
  if (parts.length < 3 || parts.length > 4 || !parts.every((part) => NUMBER.test(part))) return undefined;
  const [lat, lon, zoom, bearing = 0] = parts.map(Number) as [number, number, number, number?];
  if (Math.abs(lat) > MAX_LATITUDE || Math.abs(lon) > 180 || zoom < 0 || zoom > MAX_ZOOM || Math.abs(bearing) > 360) return undefined;
  return { lat, lon, zoom, bearing };
}

function formatView({ lat, lon, zoom, bearing }: View): string {
  const turned = Math.round(bearing);
  return [lat.toFixed(5), lon.toFixed(5), zoom.toFixed(2), ...(turned === 0 ? [] : [turned])].join(",");
}

function parseTime(text: string): number | undefined {
  const timeMs = TIME.test(text) ? Date.parse(text) : NaN;
  // Browsers take the 31st of any month, and 24 o'clock, for a time of the day after.
  const isThere = !Number.isNaN(timeMs) && new Date(timeMs).toISOString().startsWith(text.slice(0, "2026-05-02T12:00:00".length));
  return isThere ? timeMs : undefined;
}
