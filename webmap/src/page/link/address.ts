/** The address of the page: it follows what is shown, and what is shown follows it. */
import { formatLink, parseLink, type Link } from "./link.ts";

export class Address {
  /** The fragment as it is known here; another one has just been gone to. */
  private known = location.hash;

  constructor(
    private readonly shown: () => Link,
    private readonly visited: (link: Link) => void,
  ) {
    addEventListener("hashchange", () => this.visit());
  }

  /** What the page was opened with, or went to. */
  get link(): Link {
    return parseLink(location.hash);
  }

  /** The address of what is shown, on a page of its own. */
  get href(): string {
    const url = new URL(location.href);
    url.searchParams.delete("embed");
    url.hash = formatLink(this.shown());
    return url.href;
  }

  /** Go to an event, which is a step that the browser can go back. */
  go(eventId: string): void {
    location.hash = formatLink({ ...parseLink(""), eventId });
  }

  /** Write down what is shown. Called twice a second, as often as browsers allow. */
  update(): void {
    const link = this.shown();
    if (link.eventId === undefined || location.hash !== this.known) return;
    const hash = `#${formatLink(link)}`;
    if (hash === location.hash) return;
    // No step to go back: nobody wants to go through each second of a replay.
    history.replaceState(history.state, "", hash);
    this.known = location.hash;
  }

  private visit(): void {
    this.known = location.hash;
    const { link } = this;
    // The link to the list, say, goes to a part of the page.
    if (link.eventId !== undefined) this.visited(link);
  }
}
