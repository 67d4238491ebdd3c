/** The colours of speeds, and the scale they are read on; the shader and the legend hold the same four stops. */
import type { DeviceStore } from "../devices/store.ts";

type Color = readonly [number, number, number];

const DARK: readonly Color[] = [[59, 168, 240], [41, 224, 176], [250, 212, 64], [255, 97, 92]];
const LIGHT: readonly Color[] = [[79, 89, 242], [5, 140, 143], [217, 128, 5], [214, 26, 69]];
/** Where the scale may end, km/h; the first is where it begins. */
const ENDS = [20, 40, 60, 80, 120, 160, 240, 320] as const;
const LAST_END = 480;

/** The colour of a speed on a scale that ends at `scale`, both in km/h. */
export function speedColor(speed: number, scale: number, dark: boolean): string {
  const stops = dark ? DARK : LIGHT;
  const at = Math.max(0, Math.min(1, speed / scale)) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  const [from, to] = [stops[low] as Color, stops[low + 1] as Color];
  const mixed = from.map((value, part) => Math.round(value + ((to[part] ?? 0) - value) * (at - low)));
  return `rgb(${mixed.join(" ")})`;
}

/** The smallest scale that holds a speed, both in km/h. */
export function speedScale(fastest: number): number {
  return ENDS.find((scale) => fastest <= scale) ?? LAST_END;
}

/** The scale of one event. It only grows: a colour that changed its meaning every second would mean nothing. */
export class SpeedScale {
  /** km/h at its end. */
  end: number = ENDS[0];

  /** Make room for the fastest device that is not overdue; true if there was too little. */
  grow(store: DeviceStore, nowMs: number): boolean {
    const { speed } = store.columns;
    let fastest = 0;
    for (const device of store.devices()) {
      if (!store.isOverdue(device, nowMs)) fastest = Math.max(fastest, speed[device] ?? 0);
    }
    const before = this.end;
    this.end = Math.max(before, speedScale(fastest));
    return this.end > before;
  }

  reset(): void {
    this.end = ENDS[0];
  }
}
