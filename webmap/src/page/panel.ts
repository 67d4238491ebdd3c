/** What is known about the selected device. */
import { byId, setText } from "./dom.ts";
import { formatAge, formatCourse, formatPosition, formatSpeed } from "./format.ts";
import type { Position } from "../feed/protocol.ts";
import { STALE_AFTER_MS } from "../devices/store.ts";

export interface PanelActions {
  close(): void;
  follow(following: boolean): void;
}

export class Panel {
  private readonly panel = byId("panel", HTMLElement);
  private readonly followButton = byId("follow", HTMLButtonElement);

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

  show(position: Position | undefined, nowMs: number): void {
    this.panel.hidden = position === undefined;
    if (position === undefined) return;
    const ageMs = nowMs - position.ts;
    const age = formatAge(ageMs);
    this.panel.dataset["stale"] = String(ageMs > STALE_AFTER_MS);
    this.write("panel-id", position.deviceId);
    this.write("panel-speed", formatSpeed(position.speed));
    this.write("panel-age", age === "now" ? "just now" : `${age} ago`);
    this.write("panel-course", position.speed > 0 ? formatCourse(position.course) : "standing");
    this.write("panel-position", formatPosition(position.lat, position.lon));
    this.write("panel-time", new Date(position.ts).toLocaleString());
  }

  private write(id: string, text: string): void {
    setText(byId(id, HTMLElement), text);
  }
}
