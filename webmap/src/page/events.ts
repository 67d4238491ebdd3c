/** Which event is shown: from the address (#event=…), the list, or typed in. */
import type { EventChoice } from "./config.ts";
import { byId } from "./dom.ts";

/** The event id in the fragment of an address, or undefined. */
export function eventInHash(hash: string): string | undefined {
  const id = new URLSearchParams(hash.replace(/^#/, "")).get("event");
  return id === null || id === "" ? undefined : id;
}

export class EventPicker {
  private readonly form = byId("event-form", HTMLFormElement);
  private readonly select = byId("event-select", HTMLSelectElement);
  private readonly input = byId("event-input", HTMLInputElement);
  private readonly button = byId("event-open", HTMLButtonElement);
  private current: string | undefined;

  constructor(private readonly changed: (eventId: string) => void) {
    this.select.addEventListener("change", () => this.choose(this.select.value));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const typed = this.input.value.trim();
      if (typed !== "") this.choose(typed);
    });
    addEventListener("hashchange", () => this.open(eventInHash(location.hash)));
  }

  /** Offer these events, and open one if it is clear which. Return false if the user must choose. */
  offer(events: readonly EventChoice[]): boolean {
    const asked = eventInHash(location.hash) ?? this.current ?? events[0]?.id;
    const known = events.some((event) => event.id === asked);
    const choices = asked !== undefined && events.length > 0 && !known ? [...events, { id: asked, name: asked }] : events;
    this.select.replaceChildren(...choices.map(({ id, name }) => new Option(name, id)));
    this.form.hidden = false;
    this.select.hidden = choices.length === 0;
    this.input.hidden = this.button.hidden = choices.length > 0;
    if (asked === undefined) this.input.focus();
    this.open(asked);
    return asked !== undefined;
  }

  private choose(eventId: string): void {
    // Into the address first, so that people can send it to each other: hashchange then opens the event.
    location.hash = new URLSearchParams({ event: eventId }).toString();
  }

  private open(eventId: string | undefined): void {
    if (eventId === undefined || eventId === this.current) return;
    this.current = eventId;
    this.select.value = eventId;
    this.input.value = eventId;
    this.changed(eventId);
  }
}
