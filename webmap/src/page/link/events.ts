/** Which event is shown: from the address, the list, or typed in. */
import type { EventChoice } from "../config.ts";
import { byId } from "../dom.ts";

export interface EventListener {
  /** Somebody chose an event. */
  chosen(eventId: string): void;
  /** Another event is to be shown. */
  opened(eventId: string): void;
}

export class EventPicker {
  private readonly form = byId("event-form", HTMLFormElement);
  private readonly select = byId("event-select", HTMLSelectElement);
  private readonly input = byId("event-input", HTMLInputElement);
  private readonly button = byId("event-open", HTMLButtonElement);
  private current: string | undefined;

  constructor(private readonly listener: EventListener) {
    this.select.addEventListener("change", () => listener.chosen(this.select.value));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const typed = this.input.value.trim();
      if (typed !== "") listener.chosen(typed);
    });
  }

  /** Offer these events, and open the one that is asked for, or the first, anew. Return false if the user must choose. */
  offer(events: readonly EventChoice[], askedFor: string | undefined): boolean {
    const asked = askedFor ?? this.current ?? events[0]?.id;
    this.list(events, asked);
    if (asked === undefined) this.input.focus();
    else this.show(asked);
    return asked !== undefined;
  }

  /** Offer these events beside the one that is shown. */
  list(events: readonly EventChoice[], shown = this.current): void {
    const known = events.some((event) => event.id === shown);
    const choices = shown !== undefined && events.length > 0 && !known ? [...events, { id: shown, name: shown }] : events;
    this.select.replaceChildren(...choices.map(({ id, name }) => new Option(name, id, false, id === shown)));
    this.form.hidden = false;
    this.select.hidden = choices.length === 0;
    this.input.hidden = this.button.hidden = choices.length > 0;
  }

  /** Offer nothing: whoever comes next may see other events. */
  forget(): void {
    this.form.hidden = true;
    this.select.replaceChildren();
  }

  open(eventId: string): void {
    if (eventId !== this.current) this.show(eventId);
  }

  private show(eventId: string): void {
    this.current = eventId;
    this.select.value = eventId;
    this.input.value = eventId;
    this.listener.opened(eventId);
  }
}
