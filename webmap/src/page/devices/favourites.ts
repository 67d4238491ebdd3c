/** The devices that somebody marked, by event. They stay in this browser. */
import { byId } from "../dom.ts";
import { remember, remembered } from "../storage.ts";

const KEY = "telemetry-map-favourites";
/** The oldest are forgotten first. */
const MAX_EVENTS = 20;
const MAX_DEVICES = 500;

/** Favourites of each event; the event that was changed last comes last. */
export type ByEvent = ReadonlyMap<string, readonly string[]>;

/** Read what was remembered, whatever it is. */
export function parseFavourites(text: string | undefined): ByEvent {
  let found: unknown;
  try {
    found = JSON.parse(text ?? "[]");
  } catch {
    // Somebody else wrote there.
    return new Map();
  }
  const pairs = Array.isArray(found) ? found.filter(isOfEvent).slice(-MAX_EVENTS) : [];
  return new Map(pairs.map(([eventId, ids]) => [eventId, ids.filter((id) => typeof id === "string").slice(-MAX_DEVICES)]));
}

/** Return the favourites with these of an event in place of those it had. */
export function withFavourites(all: ByEvent, eventId: string, ids: Iterable<string>): ByEvent {
  const kept = [...all].filter(([id]) => id !== eventId);
  return new Map([...kept, [eventId, [...ids].slice(-MAX_DEVICES)] as const].filter(([, some]) => some.length > 0).slice(-MAX_EVENTS));
}

function isOfEvent(pair: unknown): pair is [string, unknown[]] {
  return Array.isArray(pair) && typeof pair[0] === "string" && Array.isArray(pair[1]);
}

export class Favourites {
  private readonly button = byId("favourite", HTMLButtonElement);
  private all = parseFavourites(remembered(KEY));
  private eventId = "";
  private current: ReadonlySet<string> = new Set();
  private shown: string | undefined;

  constructor(private readonly changed: () => void) {
    this.button.addEventListener("click", () => this.shown !== undefined && this.toggle(this.shown));
    addEventListener("storage", ({ key }) => key === KEY && this.read());
  }

  /** Device ids of the event that is shown. */
  get ids(): ReadonlySet<string> {
    return this.current;
  }

  open(eventId: string): void {
    this.eventId = eventId;
    this.read();
  }

  /** Offer to mark this device, the selected one. */
  show(deviceId: string | undefined): void {
    this.shown = deviceId;
    this.button.setAttribute("aria-pressed", String(deviceId !== undefined && this.current.has(deviceId)));
  }

  private toggle(deviceId: string): void {
    // Another tab may have changed them since.
    this.all = parseFavourites(remembered(KEY) ?? JSON.stringify([...this.all]));
    const ids = new Set(this.all.get(this.eventId));
    if (!ids.delete(deviceId)) ids.add(deviceId);
    this.all = withFavourites(this.all, this.eventId, ids);
    remember(KEY, JSON.stringify([...this.all]));
    this.take();
  }

  private read(): void {
    this.all = parseFavourites(remembered(KEY) ?? JSON.stringify([...this.all]));
    this.take();
  }

  private take(): void {
    this.current = new Set(this.all.get(this.eventId));
    this.show(this.shown);
    this.changed();
  }
}
