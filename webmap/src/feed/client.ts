/** The page's end of the feed. */
import type { Batch } from "./conflator.ts";
import type { EntriesByDevice } from "./entries.ts";
import type { FromWorker, ToWorker } from "./link.ts";
import type { FeedState } from "./state.ts";

export interface ClientListener {
  state(state: FeedState): void;
  entries(entries: EntriesByDevice, replaces: boolean): void;
  /** `received` counts all positions since the page was opened, those that were conflated too. */
  batch(batch: Batch, received: number): void;
  /** Another session has followed the one that the server knew. */
  renewed(): void;
}

/** Where the page finds what the server has at `path`: a proxy may serve it in a folder of which the server does not know. */
export function besidePage(path: string, folder: string): string {
  return path.startsWith(folder) ? path : folder + path.slice(1);
}

export class FeedClient {
  private session = 0;

  constructor(
    private readonly worker: Worker,
    private readonly listener: ClientListener,
  ) {
    worker.onmessage = (event: MessageEvent<FromWorker>) => this.receive(event.data);
  }

  /** Subscribe to an event instead of the one before; `path` leads to the WebSocket, `configUrl` needs the same rights. */
  start(eventId: string, path: string, configUrl: string): void {
    this.session += 1;
    const url = new URL(besidePage(path, new URL(".", configUrl).pathname), configUrl);
    // A browser does not say of itself where a page is from that asks for what it takes for the same origin.
    const probeUrls = [configUrl, `${url.href}?${new URLSearchParams({ origin: url.origin })}`];
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.send({ type: "start", session: this.session, eventId, url: url.href, probeUrls });
  }

  /** Connect now instead of waiting. */
  retry(): void {
    this.send({ type: "retry" });
  }

  /** Connect anew, as whoever is signed in now; what was received stays. */
  renew(): void {
    this.send({ type: "renew" });
  }

  private send(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  private receive(message: FromWorker): void {
    // What the thread sent before it heard of the next event.
    if (message.session !== this.session) return;
    if (message.type === "state") this.listener.state(message.state);
    else if (message.type === "entries") this.listener.entries(message.entries, message.replaces);
    else if (message.type === "renewed") this.listener.renewed();
    else this.listener.batch(message.batch, message.received);
  }
}
