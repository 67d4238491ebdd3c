/** The newest position per device between two deliveries to the page, packed so that handing it over is cheap. */
import type { Position } from "./protocol.ts";

/** Numbers per position in `Batch.values`: device index, lat, lon, ts, speed, course. */
export const STRIDE = 6;

/** More devices than any race has: bounds memory, whatever the server sends. */
export const MAX_DEVICES = 65_536;

export interface Batch {
  /** Ids of the devices that are new in this batch; their indexes follow those already known. */
  readonly newIds: readonly string[];
  /** Indexes of the devices that went, before any position of this batch. */
  readonly removed?: readonly number[];
  readonly values: Float64Array;
  /** True if `values` is a snapshot: devices that it lacks are no longer part of the event. */
  readonly replaces: boolean;
}

export class Conflator {
  private readonly indexes = new Map<string, number>();
  private readonly pending = new Map<number, Position>();
  private readonly removed = new Set<number>();
  /** The newest position per device since a snapshot began of which the rest is still to come. */
  private gathered: Map<number, Position> | undefined;
  private newIds: string[] = [];
  private replaces = false;

  add(position: Position): void {
    const index = this.indexOf(position.deviceId);
    if (index === undefined) return;
    this.pending.set(index, position);
    this.gathered?.set(index, position);
  }

  remove(deviceId: string): void {
    const index = this.indexes.get(deviceId);
    if (index === undefined) return;
    this.pending.delete(index);
    this.gathered?.delete(index);
    this.removed.add(index);
  }

  /** Add a snapshot. What was pending is older and is dropped. */
  replace(snapshot: readonly Position[]): void {
    this.gathered = undefined;
    this.pending.clear();
    this.replaces = true;
    for (const position of snapshot) this.add(position);
  }

  /** Add what was missed. */
  resume(missed: readonly Position[]): void {
    this.gathered = undefined;
    for (const position of missed) this.add(position);
  }

  /** Add the first part of a snapshot. Until it is complete, devices that were shown before stay where they are. */
  begin(snapshot: readonly Position[]): void {
    this.gathered = new Map();
    for (const position of snapshot) this.add(position);
  }

  /** The snapshot that has begun is complete: what came since then is all there is. */
  complete(): void {
    if (this.gathered === undefined) return;
    this.pending.clear();
    for (const [index, position] of this.gathered) this.pending.set(index, position);
    this.gathered = undefined;
    this.replaces = true;
  }

  /** Hand over what came since the last call; undefined if nothing came. */
  take(): Batch | undefined {
    if (this.pending.size === 0 && this.removed.size === 0 && !this.replaces) return undefined;
    const values = new Float64Array(this.pending.size * STRIDE);
    let offset = 0;
    for (const [index, { lat, lon, ts, speed, course }] of this.pending) {
      values.set([index, lat, lon, ts, speed, course], offset);
      offset += STRIDE;
    }
    const batch = { newIds: this.newIds, removed: [...this.removed], values, replaces: this.replaces };
    this.pending.clear();
    this.removed.clear();
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
