/** What outside checks and the browser's console may ask, as `window.telemetryMap`. */
import { latitude, longitude } from "../devices/mercator.ts";
import type { DeviceStore } from "../devices/store.ts";
import type { Position } from "../feed/protocol.ts";

export interface TelemetryMap {
  devices(): Position[];
  /** The server's time as the page has it, or that of a replay, epoch milliseconds. */
  now(): number;
  /** Where the trail of a device leads, oldest point first. */
  trail(deviceId: string): { lat: number; lon: number }[];
  /** Texts beside the course that are shown. */
  course(): readonly string[];
  /** What of the operator's base map is in view; nothing while there are outlines only. */
  base(): { layer: string; kind: string; name: string }[];
  /** Counts since the page was opened: positions received, batches applied, pictures drawn. */
  counters(): { received: number; batches: number; pictures: number };
}

declare global {
  interface Window {
    telemetryMap: TelemetryMap;
  }
}

export function letInspect(store: DeviceStore, others: Pick<TelemetryMap, "now" | "course" | "base" | "counters">): void {
  window.telemetryMap = {
    ...others,
    devices: () => [...store.devices()].map((device) => store.position(device)),
    trail: (deviceId) => {
      const device = store.indexOf(deviceId);
      const points = device === undefined ? [] : store.trails.pointsOf(device);
      return points.map(({ x, y }) => ({ lat: latitude(y), lon: longitude(x) }));
    },
  };
}
