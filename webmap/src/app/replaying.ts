/** Starts and ends replays: between the controls, what plays, and the page that shows it. */
import type { DeviceStore } from "../devices/store.ts";
import type { Batch } from "../feed/conflator.ts";
import type { Archive } from "../history/archive.ts";
import type { Extent } from "../history/past.ts";
import { SPEEDS } from "../history/player.ts";
import { Replay } from "../history/replay.ts";
import { ReplayBar } from "../page/replay.ts";

const TICK_MS = 100;
/** An event without a position for this long is over: its replay ends where it ended. */
const OVER_AFTER_MS = 600_000;
/** This close to the present there is nothing more to play: positions are still on their way. */
const PRESENT_MS = 3_000;

export interface ReplayHost {
  /** The event that is shown. */
  eventId(): string | undefined;
  /** The server's clock. */
  nowMs(): number;
  /** Devices have other indexes now. */
  renumbered(): void;
  changed(): void;
  /** What is live is shown again. */
  ended(): void;
}

export class Replaying {
  private readonly bar = new ReplayBar(SPEEDS, {
    open: () => void this.start(),
    playing: (on) => this.play(on),
    seek: (timeMs) => this.seek(timeMs),
    speed: (speed) => this.current?.setSpeed(speed),
    close: () => this.stop(),
  });
  private current: Replay | undefined;
  private extent: Extent = { fromMs: 0, toMs: 0 };
  private asking: AbortController | undefined;
  /** The time of a link, as long as it is not there to be shown. */
  private wantedMs: number | undefined;
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly store: DeviceStore,
    private readonly archive: Archive,
    private readonly host: ReplayHost,
  ) {}

  /** The time that is shown; undefined if that is the present. */
  get timeMs(): number | undefined {
    return this.current?.player.timeMs;
  }

  /** The time that a link to what is shown has. */
  get linkedMs(): number | undefined {
    return this.timeMs ?? this.wantedMs;
  }

  /** Show this time of the past, standing still. */
  open(timeMs: number): void {
    this.stop();
    this.wantedMs = timeMs;
    void this.start();
  }

  /** Take a batch of what is live; false if it is to be shown. */
  takes(batch: Batch): boolean {
    this.current?.applyLive(batch);
    return this.current !== undefined;
  }

  /** Show what is live again. */
  stop(): void {
    if (this.leave()) this.host.ended();
  }

  /** End without going back to what is live: the event itself is left. False if nothing was replayed. */
  leave(): boolean {
    this.asking?.abort();
    this.asking = this.wantedMs = undefined;
    this.bar.close();
    if (this.current === undefined) return false;
    clearInterval(this.timer);
    delete document.body.dataset["replay"];
    const { current } = this;
    this.current = undefined;
    current.stop();
    return true;
  }

  private async start(): Promise<void> {
    const eventId = this.host.eventId();
    if (eventId === undefined || this.asking !== undefined) return;
    const { signal } = (this.asking = new AbortController());
    this.bar.open("Looking for what was…");
    const extent = await this.archive.extent(eventId, signal);
    if (signal.aborted) return;
    if (extent === undefined) return this.bar.open("The past cannot be read now.");
    if (extent === "empty") return this.bar.open("Nothing was recorded in the last week.");
    this.extent = extent;
    this.current = new Replay(this.archive, eventId, extent.fromMs, this.store, () => this.endMs(), {
      renumbered: () => this.host.renumbered(),
      changed: () => this.host.changed(),
      caughtUp: () => (this.isOver() ? this.play(false) : this.stop()),
    });
    document.body.dataset["replay"] = "";
    this.timer = setInterval(() => this.tick(), TICK_MS);
    if (this.wantedMs !== undefined) {
      this.current.player.playing = false;
      this.seek(this.wantedMs);
    }
    this.tick();
  }

  private play(on: boolean): void {
    if (this.current === undefined) return;
    const { player } = this.current;
    if (on && player.timeMs >= this.endMs()) player.seek(this.extent.fromMs);
    player.playing = on;
    this.tick();
  }

  private seek(timeMs: number): void {
    this.current?.player.seek(Math.max(timeMs, this.extent.fromMs));
    this.tick();
  }

  private tick(): void {
    this.current?.tick(performance.now());
    // What is live may have been reached.
    if (this.current === undefined) return;
    const { player, failed } = this.current;
    const { timeMs, playing } = player;
    const note = failed ? "The past cannot be read now." : player.waiting ? "Loading…" : "";
    this.bar.show({ fromMs: this.extent.fromMs, toMs: this.endMs(), timeMs, playing, note });
  }

  private isOver(): boolean {
    return this.host.nowMs() - this.extent.toMs > OVER_AFTER_MS;
  }

  private endMs(): number {
    return this.isOver() ? this.extent.toMs + 1 : this.host.nowMs() - PRESENT_MS;
  }
}
