/** Between the address and what is shown, each of which follows the other; and so the links that people share. */
import type { LiveMap } from "../map/map.ts";
import type { EventChoice } from "../page/config.ts";
import type { Finding } from "../page/devices/finding.ts";
import { Address } from "../page/link/address.ts";
import { Embedding } from "../page/link/embedding.ts";
import { EventPicker } from "../page/link/events.ts";
import type { Link, View } from "../page/link/link.ts";
import { Share } from "../page/link/share.ts";
import type { Replaying } from "./replaying.ts";
import type { Selection } from "./selection.ts";

export interface LinkingHost {
  readonly finding: Finding;
  readonly selection: Selection;
  readonly replaying: Replaying;
  map(): LiveMap | undefined;
  /** Show this event, and of it what the address says. */
  open(eventId: string): void;
  /** Bring this into view, or everything as soon as there is something. */
  look(view: View | undefined): void;
}

export class Linking {
  private readonly address = new Address(
    () => this.shown(),
    (link) => this.visit(link),
  );
  private readonly events = new EventPicker({
    chosen: (eventId) => this.address.go(eventId),
    opened: (eventId) => {
      this.eventId = eventId;
      this.shows = false;
      this.host.open(eventId);
    },
  });
  private readonly embedding = new Embedding();
  private eventId: string | undefined;
  /** Whether that event is shown, so that the address follows; else the address is what will be shown. */
  private shows = false;

  constructor(private readonly host: LinkingHost) {
    new Share(() => this.address.href);
  }

  /** What the page was opened with, or went to, and then what is shown. */
  get link(): Link {
    return this.address.link;
  }

  /** Offer these events; false if somebody must choose one. */
  offer(events: readonly EventChoice[]): boolean {
    return this.events.offer(events, this.link.eventId);
  }

  /** Offer these events beside the one that is shown. */
  list(events: readonly EventChoice[]): void {
    this.events.list(events);
  }

  /** The event is not shown any more, but its address stays that of what was: whoever may see it again is shown that. */
  hide(): void {
    this.tick();
    this.shows = false;
  }

  /** Nobody is signed in. */
  forget(): void {
    this.events.forget();
    this.eventId = undefined;
  }

  /** Show what a link does of its event. */
  restore(link: Link): void {
    const { finding, replaying, selection } = this.host;
    // Until all of it is: each step lets the address follow.
    this.shows = false;
    finding.restore(link.filter, link.order);
    if (link.timeMs !== undefined) replaying.open(link.timeMs);
    else replaying.stop();
    this.host.look(link.view);
    selection.select(link.deviceId, link.view === undefined);
    selection.follow(link.following, link.view === undefined);
    this.shows = true;
  }

  /** There is a map from now on. */
  mapped(): void {
    const { selection } = this.host;
    const { view } = this.link;
    this.host.look(view);
    selection.select(selection.deviceId, view === undefined);
  }

  /** Twice a second: write down what is shown. */
  tick(): void {
    if (this.shows) this.address.update();
    this.embedding.update(this.address.href);
  }

  /** Somebody went to another address, or back to one. */
  private visit(link: Link): void {
    // The first event is opened when it is known which ones there are.
    if (this.eventId === undefined || link.eventId === undefined) return;
    if (link.eventId !== this.eventId) this.events.open(link.eventId);
    else if (this.shows) this.restore(link);
  }

  private shown(): Link {
    if (!this.shows) return this.link;
    const { finding, selection, replaying } = this.host;
    const map = this.host.map();
    return {
      eventId: this.eventId,
      deviceId: selection.deviceId,
      following: selection.following,
      filter: finding.text,
      order: finding.order === "number" ? undefined : finding.order,
      view: map === undefined ? this.link.view : map.camera,
      timeMs: replaying.linkedMs,
    };
  }
}
