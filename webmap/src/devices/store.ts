/** Every device of the event, as columns of numbers: updating 10,000 devices ten times a second makes no garbage. */
import { STRIDE, type Batch } from "../feed/conflator.ts";
import { Entries } from "./entries.ts";
import { Filter } from "./filter.ts";
import { mercatorX, mercatorY, metresPerUnit } from "./mercator.ts";
import { glideMs, nextRhythm, overdueAfterMs } from "./rhythm.ts";
import type { Position } from "../feed/protocol.ts";
import { Trails, type TrailPoint } from "./trails.ts";

/** As often as positions are handed over. */
const MIN_GLIDE_MS = 100;
/** Nothing on the ground moves faster: no trail is drawn across a lost fix. */
const MAX_SPEED_M_PER_S = 300;
const FIRST_CAPACITY = 256;

const COLUMNS = ["lat", "lon", "ts", "speed", "course", "x", "y", "fromX", "fromY", "glideStart", "glideMs", "rhythm", "since"] as const;
type Column = (typeof COLUMNS)[number];
export type Columns = Record<Column, Float64Array>;

function allocate(capacity: number, previous?: Columns): Columns {
  const entries = COLUMNS.map((name): [Column, Float64Array] => {
    const column = new Float64Array(capacity);
    if (previous !== undefined) column.set(previous[name]);
    return [name, column];
  });
  return Object.fromEntries(entries) as Columns;
}

export class DeviceStore {
  readonly ids: string[] = [];
  readonly entries = new Entries();
  readonly filter = new Filter(this.entries);
  columns: Columns = allocate(FIRST_CAPACITY);
  present = new Uint8Array(FIRST_CAPACITY);
  trails = new Trails(FIRST_CAPACITY);
  /** Devices shown. */
  count = 0;
  /** Changes whenever a device appears or disappears. */
  membership = 0;
  /** How fast time passes: in a replay, faster than on the clock that times the glides. */
  pace = 1;
  private readonly indexes = new Map<string, number>();
  private gliding = true;

  /** Whether markers glide. When they no longer do, they are at once where they were reported. */
  set glides(on: boolean) {
    this.gliding = on;
    if (!on) this.columns.glideMs.fill(0);
  }

  /** Apply a batch; `timeMs` is the page's monotonic clock, which times the glides. */
  apply(batch: Batch, timeMs: number): void {
    this.addIds(batch.newIds);
    for (const device of batch.removed ?? []) this.remove(device);
    if (batch.replaces) this.keepOnly(batch.values);
    const { values } = batch;
    for (let at = 0; at + STRIDE <= values.length; at += STRIDE) {
      if ((values[at] as number) < this.ids.length) this.update(values, at, timeMs);
    }
  }

  /** Everything as a batch from which another store becomes like this one, but for its trails. */
  asBatch(): Batch {
    const values = new Float64Array(this.count * STRIDE);
    let offset = 0;
    for (const device of this.devices()) {
      const { lat, lon, ts, speed, course } = this.position(device);
      values.set([device, lat, lon, ts, speed, course], offset);
      offset += STRIDE;
    }
    return { newIds: [...this.ids], values, replaces: true };
  }

  clear(): void {
    this.entries.clear();
    this.clearDevices();
  }

  /** Forget where devices are, but not who they are. */
  clearDevices(): void {
    this.ids.length = 0;
    this.indexes.clear();
    this.present.fill(0);
    this.count = 0;
    this.membership += 1;
    this.trails = new Trails(this.trails.capacity, this.trails.spacingMs);
  }

  indexOf(deviceId: string): number | undefined {
    const device = this.indexes.get(deviceId);
    return device !== undefined && this.present[device] === 1 ? device : undefined;
  }

  position(device: number): Position {
    const { lat, lon, ts, speed, course } = this.columns;
    return {
      deviceId: this.ids[device] ?? "",
      lat: lat[device] ?? 0,
      lon: lon[device] ?? 0,
      ts: ts[device] ?? 0,
      speed: speed[device] ?? 0,
      course: course[device] ?? 0,
    };
  }

  /** The age from which a device is overdue by its own rhythm, milliseconds. */
  overdueAfterMs(device: number): number {
    return overdueAfterMs(this.columns.rhythm[device] ?? 0);
  }

  /** Tell whether a device should have reported again by a time of the server's clock. */
  isOverdue(device: number, nowMs: number): boolean {
    return nowMs - (this.columns.ts[device] ?? 0) > this.overdueAfterMs(device);
  }

  /** Lead a device's trail back over positions from before the first one shown, oldest first. */
  reachBack(deviceId: string, ts: Float64Array, lat: Float64Array, lon: Float64Array): void {
    const device = this.indexOf(deviceId);
    const [first] = device === undefined ? [] : this.trails.pointsOf(device);
    if (device === undefined || first === undefined) return;
    const since = this.columns.since[device] ?? 0;
    const older: TrailPoint[] = [];
    let [beforeX, beforeY, beforeTs, rhythm] = [0, 0, 0, 0];
    for (let at = 0; at < ts.length && (ts[at] as number) < since; at++) {
      const [x, y, now] = [mercatorX(lon[at] as number), mercatorY(lat[at] as number), ts[at] as number];
      older.push({ x, y, connected: isPlausible(x - beforeX, y - beforeY, y, now - beforeTs) });
      rhythm = nextRhythm(rhythm, now - beforeTs);
      [beforeX, beforeY, beforeTs] = [x, y, now];
    }
    if (older.length === 0) return;
    const joined = isPlausible(first.x - beforeX, first.y - beforeY, first.y, since - beforeTs);
    this.trails.prepend(device, older, joined);
    if (this.columns.rhythm[device] === 0) this.columns.rhythm[device] = nextRhythm(rhythm, since - beforeTs);
    this.columns.since[device] = ts[0] as number;
  }

  /** Where a marker is at this moment of its glide, as Mercator [x, y]. */
  shownAt(device: number, timeMs: number): [number, number] {
    const { fromX, fromY, x, y } = this.columns;
    const share = this.glidden(device, timeMs);
    const startX = fromX[device] ?? 0;
    const startY = fromY[device] ?? 0;
    return [startX + ((x[device] ?? 0) - startX) * share, startY + ((y[device] ?? 0) - startY) * share];
  }

  /** The share of its way to where it was reported that a marker has gone. */
  glidden(device: number, timeMs: number): number {
    const length = this.columns.glideMs[device] ?? 0;
    return length > 0 ? Math.min(1, (timeMs - (this.columns.glideStart[device] ?? 0)) / length) : 1;
  }

  *devices(): Generator<number> {
    for (let device = 0; device < this.ids.length; device++) if (this.present[device] === 1) yield device;
  }

  /** Devices that the filter shows, and the selected one, which somebody is looking at. */
  *shown(selected: number | undefined): Generator<number> {
    for (const device of this.devices()) if (this.shows(device, selected)) yield device;
  }

  shows(device: number, selected: number | undefined): boolean {
    return device === selected || this.filter.shows(this.ids[device] ?? "");
  }

  private addIds(newIds: readonly string[]): void {
    for (const id of newIds) {
      this.indexes.set(id, this.ids.length);
      this.ids.push(id);
    }
    if (this.ids.length > this.present.length) this.grow();
  }

  private grow(): void {
    let capacity = this.present.length;
    while (capacity < this.ids.length) capacity *= 2;
    this.columns = allocate(capacity, this.columns);
    const present = new Uint8Array(capacity);
    present.set(this.present);
    this.present = present;
    this.trails = this.trails.grown(capacity);
  }

  private keepOnly(values: Float64Array): void {
    const kept = new Set<number>();
    for (let at = 0; at < values.length; at += STRIDE) kept.add(values[at] as number);
    for (const device of [...this.devices()]) {
      if (!kept.has(device)) this.remove(device);
    }
  }

  private remove(device: number): void {
    if (this.present[device] !== 1) return;
    this.present[device] = 0;
    this.trails.clear(device);
    this.count -= 1;
    this.membership += 1;
  }

  /** The last one to come is where the device is: a tracker's clock may have been ahead, and be set right. */
  private update(values: Float64Array, at: number, timeMs: number): void {
    const [device, lat, lon] = [values[at] as number, values[at + 1] as number, values[at + 2] as number];
    const [ts, speed, course] = [values[at + 3] as number, values[at + 4] as number, values[at + 5] as number];
    const { columns } = this;
    const known = this.present[device] === 1;
    const sinceLastMs = ts - (columns.ts[device] ?? 0);
    const x = mercatorX(lon);
    const y = mercatorY(lat);
    if (known) this.moveOn(device, x, y, sinceLastMs, timeMs);
    else this.appear(device, x, y, ts, timeMs);
    columns.lat[device] = lat;
    columns.lon[device] = lon;
    columns.ts[device] = ts;
    columns.speed[device] = speed;
    columns.course[device] = course;
    columns.x[device] = x;
    columns.y[device] = y;
  }

  private appear(device: number, x: number, y: number, ts: number, timeMs: number): void {
    this.columns.since[device] = ts;
    this.columns.rhythm[device] = 0;
    this.present[device] = 1;
    this.count += 1;
    this.membership += 1;
    this.trails.clear(device);
    this.jump(device, x, y, timeMs, false);
  }

  /** Start to move from where the marker is now to (x, y). */
  private moveOn(device: number, x: number, y: number, sinceLastMs: number, timeMs: number): void {
    const { columns } = this;
    const oldX = columns.x[device] ?? 0;
    const oldY = columns.y[device] ?? 0;
    const plausible = isPlausible(x - oldX, y - oldY, y, sinceLastMs);
    const rhythm = columns.rhythm[device] ?? 0;
    const lengthMs = glideMs(rhythm, sinceLastMs) / this.pace;
    columns.rhythm[device] = nextRhythm(rhythm, sinceLastMs);
    if (!plausible || lengthMs === 0 || !this.gliding) {
      this.trails.push(device, oldX, oldY, timeMs);
      return this.jump(device, x, y, timeMs, plausible);
    }
    const [shownX, shownY] = this.shownAt(device, timeMs);
    this.trails.push(device, shownX, shownY, timeMs);
    // Across 180° of longitude, and not around the earth.
    columns.fromX[device] = shownX + Math.round(x - shownX);
    columns.fromY[device] = shownY;
    columns.glideStart[device] = timeMs;
    columns.glideMs[device] = Math.max(MIN_GLIDE_MS, lengthMs);
  }

  private jump(device: number, x: number, y: number, timeMs: number, connected: boolean): void {
    this.columns.fromX[device] = x;
    this.columns.fromY[device] = y;
    this.columns.glideStart[device] = timeMs;
    this.columns.glideMs[device] = 0;
    this.trails.push(device, x, y, timeMs, connected);
  }
}

/** Tell whether a device can have moved so far, by Mercator, within so many milliseconds. */
function isPlausible(byX: number, byY: number, y: number, withinMs: number): boolean {
  const metres = Math.hypot(byX - Math.round(byX), byY) * metresPerUnit(y);
  return metres <= MAX_SPEED_M_PER_S * Math.max(1, Math.abs(withinMs) / 1000);
}
