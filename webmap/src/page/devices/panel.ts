/** What is known about the selected device. */
import { byId, setText } from "../dom.ts";
import { formatCourse, formatPosition, formatSpeed } from "../format.ts";
import { showNumber } from "./entry.ts";
import { formatAge } from "../../devices/age.ts";
import type { Entries } from "../../devices/entries.ts";
import type { Entry } from "../../feed/entries.ts";
import type { Position } from "../../feed/protocol.ts";

export interface PanelActions {
  close(): void;
  follow(following: boolean): void;
}

export class Panel {
  private readonly panel = byId("panel", HTMLElement);
  private readonly followButton = byId("follow", HTMLButtonElement);
  private shown: string | undefined;

  constructor(actions: PanelActions) {
    byId("panel-close", HTMLButtonElement).addEventListener("click", () => actions.close());
    this.followButton.addEventListener("click", () => {
      actions.follow(this.followButton.getAttribute("aria-pressed") !== "true");
    });
  }

  setFollowing(following: boolean): void {
    this.followButton.setAttribute("aria-pressed", String(following));
    setText(this.followButton, following ? "Following" : "Follow");
  }

  show(position: Position | undefined, entries: Entries, nowMs: number, overdue: boolean): void {
    this.panel.hidden = position === undefined;
    if (position === undefined) return;
    const age = formatAge(nowMs - position.ts);
    this.panel.dataset["stale"] = String(overdue);
    this.showEntry(position.deviceId, entries);
    this.write("panel-speed", formatSpeed(position.speed));
    this.write("panel-age", age === "now" ? "just now" : `${age} ago`);
    this.write("panel-course", position.speed > 0 ? formatCourse(position.course) : "standing");
    this.write("panel-position", formatPosition(position.lat, position.lon));
    this.write("panel-time", new Date(position.ts).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" }));
  }

  /** Write what does not change with every position, when it changed. */
  private showEntry(deviceId: string, entries: Entries): void {
    const version = `${entries.version} ${deviceId}`;
    if (this.shown === version) return;
    this.shown = version;
    const entry = entries.of(deviceId);
    const name = entries.nameOf(deviceId);
    this.write("panel-id", name);
    byId("panel-id", HTMLElement).title = name;
    showNumber(byId("panel-number", HTMLElement), entry);
    this.write("panel-class", entry?.class ?? "");
    byId("panel-class", HTMLElement).hidden = !entry?.class;
    const rows = entry === undefined ? [] : [...entry.others, ...deviceRow(entry, deviceId)];
    byId("panel-entry", HTMLElement).replaceChildren(...rows.map(([name, text]) => createRow(name, text)));
  }

  private write(id: string, text: string): void {
    setText(byId(id, HTMLElement), text);
  }
}

/** The id of a device that is called by something else. */
function deviceRow(entry: Entry, deviceId: string): [string, string][] {
  return entry.name === "" && entry.number === "" ? [] : [["Device", deviceId]];
}

function createRow(name: string, text: string): HTMLElement {
  const row = document.createElement("div");
  const [term, description] = [document.createElement("dt"), document.createElement("dd")];
  term.dir = description.dir = "auto";
  term.textContent = name;
  description.textContent = text;
  row.append(term, description);
  return row;
}
