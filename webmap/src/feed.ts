/** The subscription to one event: connects, resumes by cursor, and comes back by itself. No DOM, no globals. */
import { Backoff } from "./backoff.ts";
import type { Refusal } from "./probe.ts";
import { parseMessage, type Position, type ServerMessage } from "./protocol.ts";
import { closeReason, type FeedState } from "./state.ts";

/** The part of a WebSocket that the feed uses. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number }) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** What the feed needs from outside: sockets, a clock, timers, and a question to ask after a refused upgrade. */
export interface FeedEnvironment {
  connect(): Socket;
  probe(): Promise<Refusal>;
  now(): number;
  /** Run later; the result cancels. */
  after(delayMs: number, action: () => void): () => void;
  random(): number;
}

export interface FeedListener {
  state(state: FeedState): void;
  position(position: Position): void;
  snapshot(positions: readonly Position[], resumed: boolean): void;
}

/** No frame for this long while connected is called stale. */
const QUIET_MS = 30_000;
const RETRY = { firstMs: 1_000, maxMs: 30_000 };
const SUBSCRIBE_TIMEOUT_MS = 15_000;
const PROBE_ANSWER_MS = 10_000;
/** 4429 means that this client was the burden: stay away a while. */
const TOO_MANY_REQUESTS_MS = 15_000;
const PROBE_ID = "probe";

export class Feed {
  private readonly backoff: Backoff;
  private readonly topic: string;
  private socket: Socket | undefined;
  private cursor: string | undefined;
  private opened = false;
  private subscribed = false;
  private lastMessageAt = 0;
  private lastFrameAt = 0;
  private generation = 0;
  private cancelTimer: () => void = () => undefined;

  constructor(
    eventId: string,
    private readonly environment: FeedEnvironment,
    private readonly listener: FeedListener,
  ) {
    this.topic = `event:${eventId}`;
    this.backoff = new Backoff(RETRY, () => environment.random());
  }

  start(): void {
    this.listener.state({ name: "connecting", text: "Connecting…" });
    this.open();
  }

  /** Connect now rather than when the timer says: the network came back, or the user asked. */
  retryNow(): void {
    if (this.subscribed) return;
    this.drop();
    this.start();
  }

  stop(): void {
    this.drop();
  }

  private open(): void {
    const generation = ++this.generation;
    const current = (action: () => void): void => {
      // Events of a socket that was given up can still arrive.
      if (generation === this.generation) action();
    };
    const socket = this.environment.connect();
    this.socket = socket;
    this.opened = this.subscribed = false;
    socket.onopen = () => current(() => this.subscribe());
    socket.onmessage = (event) => current(() => this.receive(event.data));
    socket.onclose = (event) => current(() => this.closed(event.code));
    this.timer(SUBSCRIBE_TIMEOUT_MS, () => this.abandon("The server does not answer."));
  }

  private subscribe(): void {
    this.opened = true;
    const since = this.cursor === undefined ? {} : { since: this.cursor };
    this.socket?.send(JSON.stringify({ type: "subscribe", topic: this.topic, ...since }));
    this.timer(SUBSCRIBE_TIMEOUT_MS, () => this.abandon("The server does not answer."));
  }

  private receive(data: unknown): void {
    this.lastMessageAt = this.environment.now();
    const message = parseMessage(data);
    if (message === undefined) return;
    if (message.type === "position") this.frame(message);
    else if (message.type === "subscribed") this.joined(message);
    else if (message.type === "error") this.refused(message);
  }

  private frame(message: ServerMessage & { type: "position" }): void {
    if (message.topic !== this.topic) return;
    this.cursor = message.cursor ?? this.cursor;
    const wasQuiet = this.lastFrameAt === 0;
    this.lastFrameAt = this.lastMessageAt;
    this.listener.position(message.position);
    if (wasQuiet && this.subscribed) this.live();
  }

  private joined(message: ServerMessage & { type: "subscribed" }): void {
    if (message.topic !== this.topic) return;
    this.cursor = message.cursor ?? this.cursor;
    this.subscribed = true;
    this.backoff.reset();
    this.lastFrameAt = this.lastMessageAt;
    this.listener.snapshot(message.snapshot, message.resumed);
    this.live();
  }

  private live(): void {
    this.listener.state({ name: "live", text: "Live" });
    this.watch();
  }

  /** Look again when the feed would become stale, counted from the last frame. */
  private watch(): void {
    const quietMs = this.environment.now() - this.lastFrameAt;
    this.timer(Math.max(0, QUIET_MS - quietMs), () => {
      if (this.environment.now() - this.lastFrameAt < QUIET_MS) this.watch();
      else this.stale();
    });
  }

  private stale(): void {
    this.listener.state({ name: "stale", text: "No new positions", since: this.lastFrameAt });
    this.lastFrameAt = 0;
    this.checkLine();
  }

  /** Ask for any answer at all: a half-open connection looks exactly like a quiet race. */
  private checkLine(): void {
    const askedAt = this.environment.now();
    this.socket?.send(JSON.stringify({ type: "ping", id: PROBE_ID }));
    this.timer(PROBE_ANSWER_MS, () => {
      if (this.lastMessageAt < askedAt) this.abandon("The server does not answer.");
      else this.timer(QUIET_MS, () => this.checkLine());
    });
  }

  private refused(error: ServerMessage & { type: "error" }): void {
    if (error.id === PROBE_ID || (error.topic !== undefined && error.topic !== this.topic)) return;
    switch (error.code) {
      case "forbidden":
        return this.end({ name: "forbidden", text: "You may not see this event." });
      case "not-found":
        return this.end({ name: "not-found", text: "There is no such event." });
      case "unknown-topic":
        return this.end({ name: "not-found", text: "The server does not know this event." });
      case "limit":
        return this.retry("The server accepts no more subscriptions.");
      case "error":
        return this.retry("The server could not check whether you may see this event.");
      default:
        return this.end({ name: "error", text: "The server did not understand this page. Please reload it." });
    }
  }

  private closed(code: number): void {
    // A session that was renewed in another tab ends here too: the server knows only the cookie of the upgrade.
    if (code === 4401 || !this.opened) void this.explainRefusal();
    else this.retry(closeReason(code), code === 4429 ? TOO_MANY_REQUESTS_MS : 0);
  }

  /** A browser hides the status of a refused upgrade, and knows of its new cookie alone, so ask by plain HTTP. */
  private async explainRefusal(): Promise<void> {
    const generation = this.generation;
    const refusal = await this.environment.probe();
    if (generation !== this.generation) return;
    if (refusal.kind === "signed-out") {
      this.end({ name: "signed-out", text: "You are signed out. Please sign in to see the map." });
    } else if (refusal.kind === "forbidden") {
      this.end({ name: "forbidden", text: "This server does not accept connections from this address." });
    } else if (refusal.kind === "full") {
      this.retry("The server is full or busy.", refusal.retryAfterMs);
    } else if (refusal.kind === "unreachable") {
      this.retry("The server cannot be reached.");
    } else {
      this.retry("The connection was lost.");
    }
  }

  private abandon(text: string): void {
    this.socket?.close();
    this.retry(text);
  }

  private retry(text: string, atLeastMs = 0): void {
    this.drop();
    const delayMs = this.backoff.next(atLeastMs);
    this.listener.state({ name: "reconnecting", text, retryAt: this.environment.now() + delayMs });
    this.timer(delayMs, () => this.open());
  }

  private end(state: FeedState): void {
    this.drop();
    this.listener.state(state);
  }

  private drop(): void {
    this.generation += 1;
    this.cancelTimer();
    this.subscribed = false;
    this.lastFrameAt = 0;
    this.socket?.close(1000);
    this.socket = undefined;
  }

  private timer(delayMs: number, action: () => void): void {
    this.cancelTimer();
    this.cancelTimer = this.environment.after(delayMs, action);
  }
}
