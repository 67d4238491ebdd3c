/** Names beside the markers, on a canvas of their own, while they are few enough to be read. */
import { formatAge } from "../devices/age.ts";
import { inkOn } from "../devices/entries.ts";
import type { DeviceStore } from "../devices/store.ts";
import type { Clock } from "./gl/buffer.ts";
import type { View } from "./gl/view.ts";
import { visitMarkers } from "./markers.ts";

const MAX_LABELS = 80;
const HEIGHT_PX = 16;
const GAP_PX = 14;

const PADDING_PX = 5;
const MAX_NAME_LENGTH = 24;

/** A start number on the colour of its entry, a name, and the age of a position that is overdue; each may be empty. */
export interface Label {
  readonly number: string;
  readonly color: string;
  readonly name: string;
  readonly age: string;
}

/** How names are written, in the dark and in the light. */
const INK = { overdue: ["#8d99b0", "#6b7689"], plain: ["#c6d2e8", "#33415a"], strong: ["#ffffff", "#0b1220"] } as const;

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

export class Labels {
  hovered: number | undefined;
  /** Whether ages are shown, which go on while nothing moves. */
  showsAges = false;
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

  draw(view: View, { timeMs, nowMs }: Clock, selected: number | undefined, dark: boolean): void {
    if (this.context === null) return;
    this.prepare(this.context, view);
    const shown = this.candidates(view, timeMs, selected);
    const taken: Box[] = [];
    this.showsAges = false;
    for (const [device, px, py] of shown) {
      const label = labelOf(this.store, device, nowMs);
      const text = [label.name, label.age].filter((part) => part !== "").join(" · ");
      const chip = label.number === "" && label.color === "" ? 0 : this.context.measureText(label.number).width + 2 * PADDING_PX;
      const gap = chip > 0 && text !== "" ? PADDING_PX : 0;
      const width = chip + gap + this.context.measureText(text).width + 8;
      const box = besideMarker(px, py, width, view);
      if (taken.some((other) => overlaps(box, other))) continue;
      taken.push(box);
      if (chip > 0) this.writeNumber(this.context, label, box, chip, dark);
      const ink = device === selected || device === this.hovered ? INK.strong : label.age === "" ? INK.plain : INK.overdue;
      this.write(this.context, text, { ...box, x: box.x + chip + gap }, dark, ink);
      this.showsAges ||= label.age !== "";
    }
  }

  /** Visible devices, the preferred ones first; only the preferred ones if there are too many. */
  private candidates(view: View, timeMs: number, selected: number | undefined): [number, number, number][] {
    const first: [number, number, number][] = [];
    const rest: [number, number, number][] = [];
    visitMarkers(this.store, selected, view, timeMs, 0, (device, px, py) => {
      if (device === selected || device === this.hovered) first.push([device, px, py]);
      // One more than can be shown says that there are too many.
      else if (rest.length <= MAX_LABELS) rest.push([device, px, py]);
    });
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

  private writeNumber(context: CanvasRenderingContext2D, label: Label, box: Box, width: number, dark: boolean): void {
    const color = label.color === "" ? (dark ? "#dbe5f7" : "#26344f") : label.color;
    context.beginPath();
    context.roundRect(box.x, box.y, width, HEIGHT_PX, 5);
    context.fillStyle = color;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = dark ? "rgba(9, 14, 25, 0.9)" : "rgba(255, 255, 255, 0.92)";
    context.stroke();
    context.fillStyle = inkOn(color);
    context.fillText(label.number, box.x + PADDING_PX, box.y + HEIGHT_PX / 2);
  }

  private write(context: CanvasRenderingContext2D, text: string, box: Box, dark: boolean, ink: readonly [string, string]): void {
    context.lineWidth = 3.5;
    context.lineJoin = "round";
    context.strokeStyle = dark ? "rgba(9, 14, 25, 0.9)" : "rgba(255, 255, 255, 0.92)";
    context.fillStyle = ink[dark ? 0 : 1];
    context.strokeText(text, box.x, box.y + HEIGHT_PX / 2);
    context.fillText(text, box.x, box.y + HEIGHT_PX / 2);
  }
}

/** Where a label of this width is not cut: right of its marker, else left of it, else below or above. */
export function besideMarker(px: number, py: number, width: number, view: { readonly width: number; readonly height: number }): Box {
  const y = Math.max(0, Math.min(py - HEIGHT_PX / 2, view.height - HEIGHT_PX));
  const left = px - GAP_PX - width;
  if (px + GAP_PX + width <= view.width) return { x: px + GAP_PX, y, width };
  if (left >= 0) return { x: left, y, width };
  const x = Math.max(0, Math.min(px - width / 2, view.width - width));
  return { x, y: py + GAP_PX + HEIGHT_PX <= view.height ? py + GAP_PX : py - GAP_PX - HEIGHT_PX, width };
}

function overlaps(one: Box, other: Box): boolean {
  return Math.abs(one.y - other.y) < HEIGHT_PX && one.x < other.x + other.width && other.x < one.x + one.width;
}

/** What stands beside a marker: of the entry what is known, else the end of the device's id. */
export function labelOf(store: DeviceStore, device: number, nowMs: number): Label {
  const deviceId = store.ids[device] ?? "";
  const { number = "", name = "", color = "" } = store.entries.of(deviceId) ?? {};
  const age = store.isOverdue(device, nowMs) ? formatAge(nowMs - store.position(device).ts) : "";
  if (name === "" && number === "") return { number, color, name: shortId(deviceId), age };
  const characters = [...name];
  const short = characters.length <= MAX_NAME_LENGTH ? name : `${characters.slice(0, MAX_NAME_LENGTH - 1).join("").trim()}…`;
  return { number: number.slice(0, MAX_NAME_LENGTH), color, name: short, age };
}

/** The end of a long id, which is where the ids of one fleet differ. */
export function shortId(deviceId: string): string {
  const characters = [...deviceId];
  return characters.length <= 10 ? deviceId : `…${characters.slice(-6).join("")}`;
}
