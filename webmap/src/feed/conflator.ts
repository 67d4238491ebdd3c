/** The newest position per device between two deliveries to the page, packed so that handing it over is cheap. */
import type { Position } from "./protocol.ts";

/** Numbers per position in `Batch.values`: device index, lat, lon, ts, speed, course. */
export const STRIDE = 6;

/** More devices than any race has: bounds memory, whatever the server sends. */
export const MAX_DEVICES = 65_536;

export interface Batch {
  /** Ids of the devices that are new in this batch; their indexes follow those already known. */
  readonly newIds: readonly string[];
  readonly values: Float64Array;
  /** True if `values` is a snapshot: devices that it lacks are no longer part of the event. */
  readonly replaces: boolean;
}

export class Conflator {
  private readonly indexes = new Map<string, number>();
  private readonly pending = new Map<number, Position>();
  private newIds: string[] = [];
  private replaces = false;

  add(position: Position): void {
    const index = this.indexOf(position.deviceId);
    if (index !== undefined) this.pending.set(index, position);
  }

  /** Add a snapshot. What was pending is older and is dropped. An empty snapshot says nothing about the devices. */
  replace(snapshot: readonly Position[]): void {
    if (snapshot.length === 0) return;
    this.pending.clear();
    this.replaces = true;
    for (const position of snapshot) this.add(position);
  }

  /** Hand over what came since the last call; undefined if nothing came. */
  take(): Batch | undefined {
    if (this.pending.size === 0) return undefined;
    const values = new Float64Array(this.pending.size * STRIDE);
    let offset = 0;
    for (const [index, { lat, lon, ts, speed, course }] of this.pending) {
      values.set([index, lat, lon, ts, speed, course], offset);
      offset += STRIDE;
    }
    const batch = { newIds: this.newIds, values, replaces: this.replaces };
    this.pending.clear();
    this.newIds = [];
    this.replaces = false;
    return batch;
  }

  private indexOf(deviceId: string): number | undefined {
    const known = this.indexes.get(deviceId);
    if (known !== undefined) return known;
    if (this.indexes.size >= MAX_DEVICES) return undefined;
    const index = this.indexes.size;
    this.indexes.set(deviceId, index);
    this.newIds.push(deviceId);
    return index;
  }
}
