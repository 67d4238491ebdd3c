/** The subscription to one event: connects, resumes by cursor, and reconnects by itself. No DOM, no globals. */
import { Backoff } from "./backoff.ts";
import { afterClose, afterError, afterRefusal, type Ending } from "./endings.ts";
import type { FeedEnvironment, FeedListener, Socket } from "./environment.ts";
import { CloseCode, parseFrame, type EntriesFrame, type ErrorFrame, type Position, type PositionsFrame, type RemovedFrame, type Subscribed } from "./protocol.ts";
import { CONNECTING } from "./state.ts";

/** Connected, but without a position for this long: the state is stale. */
const QUIET_MS = 30_000;
const RETRY = { firstMs: 1_000, maxMs: 30_000 };
const SUBSCRIBE_TIMEOUT_MS = 15_000;
const PING_TIMEOUT_MS = 10_000;
const PING_ID = "probe";

export class Feed {
  private readonly backoff: Backoff;
  private readonly topic: string;
  private socket: Socket | undefined;
  private cursor: string | undefined;
  private opened = false;
  private subscribed = false;
  /** Whether the rest of a snapshot is still to come. */
  private incomplete = false;
  /** Whether it is, because the server's database is away. */
  private partial = false;
  private lastFrameAt = 0;
  /** 0 while no position counts towards being live: before the snapshot, and while stale. */
  private lastPositionAt = 0;
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
    this.listener.state(CONNECTING);
    this.connect();
  }

  /** Connect now instead of waiting for the timer: the network came back, or the user asked. */
  retryNow(): void {
    if (!this.subscribed) this.renew();
  }

  /** Connect anew, as whoever is signed in now. */
  renew(): void {
    this.drop();
    this.start();
  }

  stop(): void {
    this.drop();
  }

  private connect(): void {
    const generation = ++this.generation;
    const current = (action: () => void): void => {
      // A socket that was given up can still report events.
      if (generation === this.generation) action();
    };
    const socket = this.environment.connect();
    this.socket = socket;
    this.opened = this.subscribed = false;
    socket.onopen = () => current(() => this.subscribe());
    socket.onmessage = (event) => current(() => this.receive(event.data));
    socket.onclose = (event) => current(() => this.onClose(event.code));
    this.timer(SUBSCRIBE_TIMEOUT_MS, () => this.giveUp());
  }

  private subscribe(): void {
    this.opened = true;
    this.incomplete = this.partial = false;
    const since = this.cursor === undefined ? {} : { since: this.cursor };
    this.socket?.send(JSON.stringify({ type: "subscribe", topic: this.topic, batch: true, ...since }));
    this.timer(SUBSCRIBE_TIMEOUT_MS, () => this.giveUp());
  }

  private receive(data: unknown): void {
    this.lastFrameAt = this.environment.now();
    const frame = parseFrame(data);
    if (frame === undefined) return;
    if (frame.type === "positions") this.onPositions(frame);
    else if (frame.type === "subscribed") this.onSubscribed(frame);
    else if (frame.type === "entries") this.onEntries(frame);
    else if (frame.type === "removed") this.onRemoved(frame);
    else if (frame.type === "error") this.onError(frame);
  }

  private onPositions(frame: PositionsFrame): void {
    if (frame.topic !== this.topic) return;
    const wasStale = this.lastPositionAt === 0;
    this.lastPositionAt = this.lastFrameAt;
    for (const position of frame.positions) this.listener.position(position);
    this.reach(frame.cursor);
    if (wasStale && this.subscribed) this.live();
  }

  private onSubscribed(frame: Subscribed): void {
    if (frame.topic !== this.topic) return;
    this.subscribed = true;
    this.partial = frame.partial;
    this.backoff.reset();
    this.lastPositionAt = this.lastFrameAt;
    if (frame.entries !== undefined) this.listener.entries(frame.entries, true);
    if (frame.cursor === undefined && !frame.resumed) this.begin(frame.snapshot);
    else if (!this.incomplete) this.listener.snapshot(frame.snapshot, frame.resumed);
    this.reach(frame.cursor);
    this.live();
  }

  private begin(positions: readonly Position[]): void {
    this.incomplete = true;
    this.listener.begin(positions);
  }

  /** The first cursor says that everything has come that was there before. */
  private reach(cursor: string | undefined): void {
    if (cursor === undefined) return;
    this.cursor = cursor;
    if (!this.incomplete) return;
    this.incomplete = false;
    this.listener.complete();
  }

  private onRemoved(frame: RemovedFrame): void {
    if (frame.topic === this.topic) this.listener.removed(frame.deviceId);
  }

  private onEntries(frame: EntriesFrame): void {
    if (frame.topic === this.topic) this.listener.entries(frame.entries, false);
  }

  private onError(frame: ErrorFrame): void {
    if (frame.id === PING_ID || (frame.topic !== undefined && frame.topic !== this.topic)) return;
    this.finish(afterError(frame));
  }

  private onClose(code: number): void {
    // A session that another tab renewed ends here too: the server knows only the cookie of the upgrade.
    if (code === CloseCode.sessionEnded || !this.opened) void this.explainRefusal(this.opened);
    else this.finish(afterClose(code));
  }

  private live(): void {
    this.listener.state({ name: "live", text: this.partial ? "Live. Devices are still missing: the server's database is away." : "Live" });
    this.watch();
  }

  /** Check again when the feed would become stale, counted from the last position. */
  private watch(): void {
    const quietMs = this.environment.now() - this.lastPositionAt;
    this.timer(Math.max(0, QUIET_MS - quietMs), () => {
      if (this.environment.now() - this.lastPositionAt < QUIET_MS) this.watch();
      else this.stale();
    });
  }

  private stale(): void {
    this.listener.state({ name: "stale", text: "No new positions", since: this.lastPositionAt });
    this.lastPositionAt = 0;
    this.ping();
  }

  /** Ask for any answer at all: a half-open connection looks exactly like a quiet race. */
  private ping(): void {
    const askedAt = this.environment.now();
    // The protocol has no ping for clients: the answer is an error frame with this id.
    this.socket?.send(JSON.stringify({ type: "ping", id: PING_ID }));
    this.timer(PING_TIMEOUT_MS, () => {
      if (this.lastFrameAt < askedAt) this.giveUp();
      else this.timer(QUIET_MS, () => this.ping());
    });
  }

  /** A browser hides the status of a refused upgrade, and only it knows its new cookie: ask by plain HTTP. */
  private async explainRefusal(wasOpen: boolean): Promise<void> {
    const generation = this.generation;
    const refusal = await this.environment.probe();
    if (generation !== this.generation) return;
    if (wasOpen && refusal.kind === "none") this.listener.renewed();
    this.finish(afterRefusal(refusal));
  }

  private giveUp(): void {
    this.finish({ kind: "retry", text: "The server does not answer.", atLeastMs: 0 });
  }

  private finish(ending: Ending): void {
    this.drop();
    if (ending.kind === "end") return this.listener.state(ending.state);
    const delayMs = this.backoff.next(ending.atLeastMs);
    this.listener.state({ name: "reconnecting", text: ending.text, retryAt: this.environment.now() + delayMs });
    this.timer(delayMs, () => this.connect());
  }

  private drop(): void {
    this.generation += 1;
    this.cancelTimer();
    this.subscribed = false;
    this.lastPositionAt = 0;
    this.socket?.close(CloseCode.normal);
    this.socket = undefined;
  }

  private timer(delayMs: number, action: () => void): void {
    this.cancelTimer();
    this.cancelTimer = this.environment.after(delayMs, action);
  }
}
