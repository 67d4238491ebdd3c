/** Names beside the markers, on a canvas of their own, while they are few enough to be read. */
import type { DeviceStore } from "../devices/store.ts";
import { isVisible, project, type View } from "./gl/view.ts";

const MAX_LABELS = 80;
const HEIGHT_PX = 16;
const GAP_PX = 14;

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

export class Labels {
  hovered: number | undefined;
  private readonly canvas = document.createElement("canvas");
  private readonly context: CanvasRenderingContext2D | null;

  constructor(
    container: HTMLElement,
    private readonly store: DeviceStore,
  ) {
    this.canvas.className = "labels";
    this.canvas.setAttribute("aria-hidden", "true");
    container.append(this.canvas);
    this.context = this.canvas.getContext("2d");
  }

  draw(view: View, timeMs: number, selected: number | undefined, dark: boolean): void {
    if (this.context === null) return;
    this.prepare(this.context, view);
    const shown = this.candidates(view, timeMs, [selected, this.hovered]);
    const taken: Box[] = [];
    for (const [device, px, py] of shown) {
      const text = shortId(this.store.ids[device] ?? "");
      const box = { x: px + GAP_PX, y: py - HEIGHT_PX / 2, width: this.context.measureText(text).width + 8 };
      if (taken.some((other) => overlaps(box, other))) continue;
      taken.push(box);
      this.write(this.context, text, box, dark, device === selected || device === this.hovered);
    }
  }

  /** Visible devices, the preferred ones first; only the preferred ones if there are too many. */
  private candidates(view: View, timeMs: number, preferred: readonly (number | undefined)[]): [number, number, number][] {
    const first: [number, number, number][] = [];
    const rest: [number, number, number][] = [];
    for (const device of this.store.devices()) {
      const [px, py] = project(view, ...this.store.shownAt(device, timeMs));
      if (!isVisible(view, px, py, 0)) continue;
      (preferred.includes(device) ? first : rest).push([device, px, py]);
    }
    return rest.length <= MAX_LABELS ? [...first, ...rest] : first;
  }

  private prepare(context: CanvasRenderingContext2D, view: View): void {
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    context.font = "600 12px system-ui, sans-serif";
    context.textBaseline = "middle";
  }

  private write(context: CanvasRenderingContext2D, text: string, box: Box, dark: boolean, strong: boolean): void {
    context.lineWidth = 3.5;
    context.lineJoin = "round";
    context.strokeStyle = dark ? "rgba(9, 14, 25, 0.9)" : "rgba(255, 255, 255, 0.92)";
    context.fillStyle = dark ? (strong ? "#ffffff" : "#c6d2e8") : strong ? "#0b1220" : "#33415a";
    context.strokeText(text, box.x, box.y + HEIGHT_PX / 2);
    context.fillText(text, box.x, box.y + HEIGHT_PX / 2);
  }
}

function overlaps(one: Box, other: Box): boolean {
  return Math.abs(one.y - other.y) < HEIGHT_PX && one.x < other.x + other.width && other.x < one.x + one.width;
}

/** The end of a long id, which is where the ids of one fleet differ. */
export function shortId(deviceId: string): string {
  const characters = [...deviceId];
  return characters.length <= 10 ? deviceId : `…${characters.slice(-6).join("")}`;
}
