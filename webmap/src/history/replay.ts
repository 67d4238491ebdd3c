/** A replay in place of what is live, which goes on aside and is shown again afterwards. */
import { DeviceStore } from "../devices/store.ts";
import type { Batch } from "../feed/conflator.ts";
import type { Archive } from "./archive.ts";
import { Chunks } from "./chunks.ts";
import type { Track } from "./past.ts";
import { Player } from "./player.ts";

const TRAIL_SPACING_MS = 1_000;
/** As often as positions are handed over: closer points would not be seen. */
const SHORTEST_SPACING_MS = 100;

export interface ReplayListener {
  /** Devices have other indexes now. */
  renumbered(): void;
  changed(): void;
  caughtUp(): void;
}

export class Replay {
  readonly player: Player;
  private readonly aside = new DeviceStore();
  private readonly chunks: Chunks;
  private tickedAt: number | undefined;

  /** Begin at a time; `endMs` tells how far there is anything to play. */
  constructor(
    archive: Archive,
    eventId: string,
    atMs: number,
    private readonly store: DeviceStore,
    endMs: () => number,
    private readonly listener: ReplayListener,
  ) {
    this.chunks = new Chunks(archive, eventId);
    this.aside.apply(store.asBatch(), 0);
    this.player = new Player(
      this.chunks,
      {
        restart: (batch, tracks) => this.restart(batch, tracks),
        batch: (batch) => this.show(batch),
        caughtUp: () => listener.caughtUp(),
      },
      endMs,
      atMs,
    );
    this.setSpeed(1);
  }

  get failed(): boolean {
    return this.chunks.failed;
  }

  setSpeed(speed: number): void {
    this.player.speed = speed;
    this.store.pace = speed;
    this.store.trails.spacingMs = Math.max(SHORTEST_SPACING_MS, TRAIL_SPACING_MS / speed);
  }

  /** Take what is live meanwhile. */
  applyLive(batch: Batch): void {
    this.aside.apply(batch, 0);
  }

  /** Go on to this moment of the page's monotonic clock. */
  tick(timeMs: number): void {
    this.player.tick(timeMs - (this.tickedAt ?? timeMs));
    this.tickedAt = timeMs;
  }

  /** Show what is live again. */
  stop(): void {
    this.chunks.stop();
    this.store.pace = 1;
    this.store.trails.spacingMs = TRAIL_SPACING_MS;
    this.store.clearDevices();
    this.store.apply(this.aside.asBatch(), performance.now());
    this.listener.renumbered();
  }

  private restart(batch: Batch, tracks: readonly Track[]): void {
    this.store.clearDevices();
    this.store.apply(batch, performance.now());
    for (const { deviceId, ts, lat, lon } of tracks) this.store.reachBack(deviceId, ts, lat, lon);
    this.listener.renumbered();
  }

  private show(batch: Batch): void {
    this.store.apply(batch, performance.now());
    this.listener.changed();
  }
}
