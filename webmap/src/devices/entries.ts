/** The entries of the event: who its devices are, as far as the viewer may know. */
import type { EntriesByDevice, Entry } from "../feed/entries.ts";

export class Entries {
  /** Changes whenever an entry does. */
  version = 0;
  private readonly entries = new Map<string, Entry>();

  /** Take these in, instead of those that are known or beside them. */
  add(entries: EntriesByDevice, replaces: boolean): void {
    if (replaces) this.entries.clear();
    for (const [deviceId, entry] of entries) this.entries.set(deviceId, entry);
    this.version += 1;
  }

  clear(): void {
    this.entries.clear();
    this.version += 1;
  }

  of(deviceId: string): Entry | undefined {
    return this.entries.get(deviceId);
  }

  /** What a device is called: the name of its entry, else its start number, else its own id. */
  nameOf(deviceId: string): string {
    const entry = this.entries.get(deviceId);
    return entry?.name || entry?.number || deviceId;
  }

  /** By what a list is ordered: start numbers go first. */
  orderOf(deviceId: string): string {
    const entry = this.entries.get(deviceId);
    return `${entry?.number ?? ""} ${entry?.name || deviceId}`.trim();
  }

  /** All that a filter may find a device by, in lower case. */
  searchable(deviceId: string): string {
    const entry = this.entries.get(deviceId);
    const texts = entry === undefined ? [] : [entry.number, entry.name, entry.class, ...entry.others.map(([, text]) => text)];
    return [...texts, deviceId].join("\n").toLowerCase();
  }
}

/** Black or white, whichever can be read on a colour given as `#rrggbb`. */
export function inkOn(color: string): string {
  const [red, green, blue] = [1, 3, 5].map((at) => (parseInt(color.slice(at, at + 2), 16) / 255) ** 2.2) as [number, number, number];
  // The luminance at which both have the same contrast.
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}
