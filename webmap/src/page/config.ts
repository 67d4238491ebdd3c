/** What the server says about itself in /config.json, checked. */
import { parseJson, retryAfterMs, sentenceOf } from "../feed/probe.ts";

export interface EventChoice {
  readonly id: string;
  readonly name: string;
}

export interface Config {
  readonly path: string;
  readonly events: readonly EventChoice[];
  /** How far the server's clock is ahead of this one, milliseconds. */
  readonly clockAheadMs: number;
}

export type ConfigAnswer =
  | { readonly kind: "ok"; readonly config: Config }
  | { readonly kind: "signed-out" | "refused"; readonly text: string | undefined }
  | { readonly kind: "missing" }
  | { readonly kind: "unreachable" }
  | { readonly kind: "unavailable"; readonly retryAfterMs: number };

/** Smaller differences mean nothing: the Date header has whole seconds, and takes time to arrive. */
const CLOCK_TOLERANCE_MS = 3_000;

export async function fetchConfig(url: string, nowMs: () => number = Date.now): Promise<ConfigAnswer> {
  let response: Response;
  let body: unknown;
  try {
    response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    body = parseJson(await response.text());
  } catch {
    // fetch rejects in the same way for every network failure.
    return { kind: "unreachable" };
  }
  if (response.status === 200) {
    const config = parseConfig(body, clockAheadMs(response.headers.get("Date"), nowMs()));
    return config === undefined ? { kind: "missing" } : { kind: "ok", config };
  }
  if (response.status === 401) return { kind: "signed-out", text: sentenceOf(body) };
  // Asking again would not help: the browser sends too much, or what the server does not take.
  if (response.status === 400 || response.status === 431) return { kind: "refused", text: sentenceOf(body) };
  if (response.status === 404) return { kind: "missing" };
  return { kind: "unavailable", retryAfterMs: retryAfterMs(response.headers.get("Retry-After")) };
}

/** Check a config document; undefined if it is not one. */
export function parseConfig(body: unknown, aheadMs: number): Config | undefined {
  const path = field(body, "path");
  const events = field(body, "events");
  if (typeof path !== "string" || !/^\/(?!\/)/.test(path)) return undefined;
  return {
    path,
    events: Array.isArray(events) ? events.map(parseEvent).filter((event) => event !== undefined) : [],
    clockAheadMs: aheadMs,
  };
}

function parseEvent(value: unknown): EventChoice | undefined {
  const id = field(value, "id");
  const name = field(value, "name");
  // In Directus an id may be a number.
  if (typeof id !== "string" && typeof id !== "number") return undefined;
  const text = String(id);
  return text === "" ? undefined : { id: text, name: typeof name === "string" && name !== "" ? name : text };
}

export function clockAheadMs(dateHeader: string | null, nowMs: number): number {
  const ahead = Date.parse(dateHeader ?? "") - nowMs;
  return Number.isFinite(ahead) && Math.abs(ahead) > CLOCK_TOLERANCE_MS ? ahead : 0;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
