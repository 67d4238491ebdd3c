/** Which devices are shown: those that a text finds, or favourites alone. */
import type { Entries } from "./entries.ts";

export class Filter {
  /** Changes whenever somebody asks for other devices. */
  version = 0;
  private wanted = "";
  private chosen: ReadonlySet<string> | undefined;
  /** By id, since a device may get another index; it costs nothing where all are shown. */
  private readonly verdicts = new Map<string, boolean>();
  private naming = -1;

  constructor(private readonly entries: Entries) {}

  /** Show the devices of which something has this text, and of these the chosen ones alone if there are such. */
  ask(text: string, chosen: ReadonlySet<string> | undefined): void {
    this.wanted = text.trim().toLowerCase();
    this.chosen = chosen;
    this.verdicts.clear();
    this.version += 1;
  }

  shows(deviceId: string): boolean {
    if (this.wanted === "" && this.chosen === undefined) return true;
    if (this.naming !== this.entries.version) this.verdicts.clear();
    this.naming = this.entries.version;
    const known = this.verdicts.get(deviceId);
    if (known !== undefined) return known;
    const verdict = this.chosen?.has(deviceId) !== false && this.entries.searchable(deviceId).includes(this.wanted);
    this.verdicts.set(deviceId, verdict);
    return verdict;
  }
}
