/** What the server says about itself in /config.json, checked. */
import { parseJson, retryAfterMs, sentenceOf, signInUrlOf } from "../feed/probe.ts";

export interface EventChoice {
  readonly id: string;
  readonly name: string;
}

export interface Config {
  readonly path: string;
  readonly events: readonly EventChoice[];
  /** Who watches, by a name that tells one from another; undefined for everybody, and where the server cannot know. */
  readonly viewer: string | undefined;
  /** By which name the server has the base map; undefined when there is none. */
  readonly basemap: string | undefined;
  /** The server's time when it answered, epoch milliseconds. */
  readonly nowMs: number;
}

export type ConfigAnswer =
  | { readonly kind: "ok"; readonly config: Config }
  | { readonly kind: "signed-out"; readonly text: string | undefined; readonly signInUrl: string | undefined }
  | { readonly kind: "refused"; readonly text: string | undefined }
  | { readonly kind: "missing" }
  | { readonly kind: "unreachable" }
  | { readonly kind: "unavailable"; readonly retryAfterMs: number };

export async function fetchConfig(url: string): Promise<ConfigAnswer> {
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
    const config = parseConfig(body);
    return config === undefined ? { kind: "missing" } : { kind: "ok", config };
  }
  if (response.status === 401) return { kind: "signed-out", text: sentenceOf(body), signInUrl: signInUrlOf(body) };
  // Asking again would not help: the browser sends too much, or what the server does not take.
  if (response.status === 400 || response.status === 431) return { kind: "refused", text: sentenceOf(body) };
  if (response.status === 404) return { kind: "missing" };
  return { kind: "unavailable", retryAfterMs: retryAfterMs(response.headers.get("Retry-After")) };
}

/** Check a config document; undefined if it is not one. */
export function parseConfig(body: unknown): Config | undefined {
  const path = field(body, "path");
  const events = field(body, "events");
  const viewer = field(body, "viewer");
  const basemap = field(body, "basemap");
  const nowMs = field(body, "now");
  if (typeof path !== "string" || !/^\/(?!\/)/.test(path) || typeof nowMs !== "number") return undefined;
  return {
    path,
    events: Array.isArray(events) ? events.map(parseEvent).filter((event) => event !== undefined) : [],
    viewer: typeof viewer === "string" ? viewer : undefined,
    basemap: typeof basemap === "string" && /^\w+$/.test(basemap) ? basemap : undefined,
    nowMs,
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

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}
