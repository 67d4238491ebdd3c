/**
 * The last points of every device, laid out as the shaders read them.
 *
 * A device owns a row of `points + 1` slots used as a ring; the last slot repeats the first, so that every
 * segment is a slot and its right neighbour. A slot is x and y, each split into a coarse and a fine float
 * (one float is wrong by metres at street level), and a sequence number. A segment is drawn only where the sequence
 * of two neighbours is consecutive, so that the seam of the ring and gaps need no second buffer.
 */

/** Two texels; the last three floats are unused. */
export const SLOT_FLOATS = 8;
/** Segments of all devices together: bounds memory (below 5 MB) and the work per picture. */
const SLOT_BUDGET = 65_536;
const MIN_POINTS = 8;
const MAX_POINTS = 96;
/** Often enough while devices are followed as they move. */
const SPACING_MS = 1_000;
/** An empty slot has sequence 0: starting here, it never looks like a predecessor. */
const FIRST_SEQUENCE = 10;

export interface TrailPoint {
  readonly x: number;
  readonly y: number;
  /** Whether a segment leads here from the point before. */
  readonly connected: boolean;
}

export function pointsFor(capacity: number): number {
  return Math.max(MIN_POINTS, Math.min(MAX_POINTS, Math.floor(SLOT_BUDGET / capacity)));
}

export class Trails {
  readonly points: number;
  readonly slots: Float32Array;
  readonly heads: Float64Array;
  private readonly fixedAt: Float64Array;
  dirty = true;

  /** Points closer in time than `spacingMs` move the newest point instead of adding one. */
  constructor(
    readonly capacity: number,
    public spacingMs = SPACING_MS,
  ) {
    this.points = pointsFor(capacity);
    this.slots = new Float32Array(capacity * (this.points + 1) * SLOT_FLOATS);
    this.heads = new Float64Array(capacity);
    this.fixedAt = new Float64Array(capacity);
  }

  /** Append the point where a device is at `timeMs`. If `connected` is false, there is a gap before it. */
  push(device: number, x: number, y: number, timeMs: number, connected = true): void {
    const head = this.heads[device] ?? 0;
    const elapsedMs = timeMs - (this.fixedAt[device] ?? 0);
    this.dirty = true;
    if (head === 0 || !connected || elapsedMs >= this.spacingMs) {
      const next = head === 0 ? FIRST_SEQUENCE : head + (connected ? 1 : 2);
      this.heads[device] = next;
      this.fixedAt[device] = timeMs;
      this.write(device, next, x, y);
    } else {
      this.write(device, head, x, y);
    }
  }

  clear(device: number): void {
    const row = (this.points + 1) * SLOT_FLOATS;
    this.slots.fill(0, device * row, (device + 1) * row);
    this.heads[device] = 0;
    this.dirty = true;
  }

  /** Put older points, oldest first, before those of a device, as far as there is room. If not `joined`, a gap follows. */
  prepend(device: number, older: readonly TrailPoint[], joined: boolean): void {
    const known = this.pointsOf(device).map((point, order) => (order === 0 ? { ...point, connected: joined } : point));
    const fixedAt = this.fixedAt[device] ?? 0;
    const room = Math.max(0, this.points - known.length);
    this.clear(device);
    this.pushAll(device, [...older.slice(Math.max(0, older.length - room)), ...known]);
    this.fixedAt[device] = fixedAt;
  }

  /** Points held for a device, oldest first. */
  pointsOf(device: number): TrailPoint[] {
    const head = this.heads[device] ?? 0;
    const found: TrailPoint[] = [];
    let before = 0;
    for (let sequence = head - this.points + 1; sequence <= head; sequence++) {
      const at = this.offset(device, sequence % this.points);
      if (sequence < FIRST_SEQUENCE || this.slots[at + 4] !== sequence) continue;
      const x = this.float(at) + this.float(at + 2);
      const y = this.float(at + 1) + this.float(at + 3);
      // Nothing is known of what was before the first one: to be connected is what points that go on want.
      found.push({ x, y, connected: before === 0 || before === sequence - 1 });
      before = sequence;
    }
    return found;
  }

  /** Trails for more devices, with the newest points of these. */
  grown(capacity: number): Trails {
    const bigger = new Trails(capacity, this.spacingMs);
    for (let device = 0; device < this.capacity; device++) {
      bigger.pushAll(device, this.pointsOf(device));
      bigger.fixedAt[device] = this.fixedAt[device] ?? 0;
    }
    return bigger;
  }

  private pushAll(device: number, points: readonly TrailPoint[]): void {
    points.forEach(({ x, y, connected }, order) => this.push(device, x, y, order * this.spacingMs, connected));
  }

  private write(device: number, sequence: number, x: number, y: number): void {
    const slot = sequence % this.points;
    this.writeSlot(this.offset(device, slot), sequence, x, y);
    if (slot === 0) this.writeSlot(this.offset(device, this.points), sequence, x, y);
  }

  private writeSlot(at: number, sequence: number, x: number, y: number): void {
    const coarseX = Math.fround(x);
    const coarseY = Math.fround(y);
    this.slots[at] = coarseX;
    this.slots[at + 1] = coarseY;
    this.slots[at + 2] = x - coarseX;
    this.slots[at + 3] = y - coarseY;
    this.slots[at + 4] = sequence;
  }

  private offset(device: number, slot: number): number {
    return (device * (this.points + 1) + slot) * SLOT_FLOATS;
  }

  private float(at: number): number {
    return this.slots[at] ?? 0;
  }
}
