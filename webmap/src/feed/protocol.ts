/** The frames of the WebSocket, named as in docs/asyncapi.json: all that arrives is untrusted and checked here, once. */

import { parseEntries, type EntriesByDevice } from "./entries.ts";
import { signInUrlOf } from "./probe.ts";

/** One position; speed in km/h, course in degrees clockwise from north, ts in epoch milliseconds. */
export interface Position {
  readonly deviceId: string;
  readonly lat: number;
  readonly lon: number;
  readonly ts: number;
  readonly speed: number;
  readonly course: number;
}

/** Positions in order; also a `position` frame, in which a server that knows no batches sends each alone. */
export interface PositionsFrame {
  readonly type: "positions";
  readonly topic: string;
  readonly positions: readonly Position[];
  readonly cursor: string | undefined;
}

export interface Subscribed {
  readonly type: "subscribed";
  readonly topic: string;
  readonly resumed: boolean;
  /** The server's database is away: devices are missing, and follow. */
  readonly partial: boolean;
  readonly snapshot: readonly Position[];
  readonly cursor: string | undefined;
  /** Undefined where the server tells nothing of them. */
  readonly entries: EntriesByDevice | undefined;
}

/** Those of the devices that did not fit into `subscribed`. */
export interface EntriesFrame {
  readonly type: "entries";
  readonly topic: string;
  readonly entries: EntriesByDevice;
}

/** A device that is not shown any more. */
export interface RemovedFrame {
  readonly type: "removed";
  readonly topic: string;
  readonly deviceId: string;
}

export interface Unsubscribed {
  readonly type: "unsubscribed";
  readonly topic: string;
}

export interface ErrorFrame {
  readonly type: "error";
  readonly code: string;
  readonly topic: string | undefined;
  readonly message: string;
  readonly id: unknown;
  readonly signInUrl: string | undefined;
}

export type ServerFrame = PositionsFrame | Subscribed | EntriesFrame | RemovedFrame | Unsubscribed | ErrorFrame;

/** Why a connection ends; `normal` is this page's own. */
export const CloseCode = {
  normal: 1000,
  shutdown: 1001,
  frameTooLarge: 1009,
  sessionEnded: 4401,
  slowClient: 4408,
  tooManyRequests: 4429,
} as const;

const MAX_DEVICE_ID_LENGTH = 128;
const MAX_CURSOR_LENGTH = 256;
/** The last instant that ECMAScript has: a later Date prints as "Invalid Date". */
const MAX_TS_MS = 8.64e15;

type Fields = Readonly<Record<string, unknown>>;

/** Parse one text frame; undefined for anything that the server would not send. */
export function parseFrame(text: unknown): ServerFrame | undefined {
  const fields = parseObject(text);
  switch (fields?.["type"]) {
    case "position":
      return parsePositionsFrame(fields, [fields]);
    case "positions":
      return parsePositionsFrame(fields, fields["positions"]);
    case "subscribed":
      return parseSubscribed(fields);
    case "entries":
      return parseEntriesFrame(fields);
    case "removed":
      return parseRemoved(fields);
    case "unsubscribed":
      return typeof fields["topic"] === "string" ? { type: "unsubscribed", topic: fields["topic"] } : undefined;
    case "error":
      return parseError(fields);
    default:
      return undefined;
  }
}

function parseObject(text: unknown): Fields | undefined {
  if (typeof text !== "string") return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parsePositionsFrame(fields: Fields, positions: unknown): ServerFrame | undefined {
  if (typeof fields["topic"] !== "string" || !Array.isArray(positions)) return undefined;
  const good = parsePositions(positions);
  if (good.length === 0) return undefined;
  return { type: "positions", topic: fields["topic"], positions: good, cursor: parseCursor(fields["cursor"]) };
}

function parseSubscribed(fields: Fields): ServerFrame | undefined {
  if (typeof fields["topic"] !== "string" || !Array.isArray(fields["snapshot"])) return undefined;
  return {
    type: "subscribed",
    topic: fields["topic"],
    resumed: fields["resumed"] === true,
    partial: fields["partial"] === true,
    snapshot: parsePositions(fields["snapshot"]),
    cursor: parseCursor(fields["cursor"]),
    entries: parseEntries(fields["entries"]),
  };
}

function parseEntriesFrame(fields: Fields): ServerFrame | undefined {
  const entries = parseEntries(fields["entries"]);
  if (entries === undefined || typeof fields["topic"] !== "string") return undefined;
  return { type: "entries", topic: fields["topic"], entries };
}

function parseRemoved(fields: Fields): ServerFrame | undefined {
  const { topic, deviceId } = fields;
  return typeof topic === "string" && typeof deviceId === "string" ? { type: "removed", topic, deviceId } : undefined;
}

function parseError(fields: Fields): ServerFrame | undefined {
  if (typeof fields["code"] !== "string") return undefined;
  return {
    type: "error",
    code: fields["code"],
    topic: typeof fields["topic"] === "string" ? fields["topic"] : undefined,
    message: typeof fields["message"] === "string" ? fields["message"].slice(0, 200) : "",
    id: fields["id"],
    signInUrl: signInUrlOf(fields),
  };
}

/** Keep those that are positions. */
function parsePositions(values: readonly unknown[]): Position[] {
  return values.map(parsePosition).filter((position) => position !== undefined);
}

/** Check one position; undefined when a field is missing, of the wrong type or out of range. */
export function parsePosition(value: unknown): Position | undefined {
  if (!isFields(value)) return undefined;
  const { deviceId, lat, lon, ts, speed = 0, course = 0 } = value;
  if (typeof deviceId !== "string" || deviceId.length === 0 || deviceId.length > MAX_DEVICE_ID_LENGTH) return undefined;
  if (!within(lat, -90, 90) || !within(lon, -180, 180) || !within(ts, 0, MAX_TS_MS)) return undefined;
  if (!within(speed, 0, Number.MAX_VALUE) || !within(course, -Number.MAX_VALUE, Number.MAX_VALUE)) return undefined;
  return { deviceId, lat, lon, ts, speed, course: ((course % 360) + 360) % 360 };
}

function within(value: unknown, low: number, high: number): value is number {
  return typeof value === "number" && value >= low && value <= high;
}

function parseCursor(value: unknown): string | undefined {
  return typeof value === "string" && value.length > 0 && value.length <= MAX_CURSOR_LENGTH ? value : undefined;
}
