/** Names beside the markers, while they are few enough to be read, and beside the course, on a canvas of their own. */
import { formatAge } from "../devices/age.ts";
import { inkOn } from "../devices/entries.ts";
import type { DeviceStore } from "../devices/store.ts";
import { isolate, shorten } from "../devices/text.ts";
import { CourseTexts, writeCourseText } from "./courseTexts.ts";
import type { Clock } from "./gl/buffer.ts";
import type { View } from "./gl/view.ts";
import { visitMarkers } from "./markers.ts";
import { halo, overlaps, write, type Box } from "./writing.ts";

const MAX_LABELS = 80;
const HEIGHT_PX = 16;
const GAP_PX = 14;
const PADDING_PX = 5;
const MAX_NAME_LENGTH = 24;
const MAX_NUMBER_LENGTH = 12;
const FONT = "600 12px system-ui, sans-serif";

/** A start number on the colour of its entry, a name, and the age of a position that is overdue; each may be empty. */
export interface Label {
  readonly number: string;
  readonly color: string;
  readonly name: string;
  readonly age: string;
}

/** What labels are drawn on. */
export interface Scene {
  readonly view: View;
  readonly zoom: number;
  /** What lies on the map. */
  readonly covers: readonly Box[];
  readonly selected: number | undefined;
  readonly dark: boolean;
}

/** How names are written, in the dark and in the light. */
const INK = { overdue: ["#8d99b0", "#6b7689"], plain: ["#c6d2e8", "#33415a"], strong: ["#ffffff", "#0b1220"] } as const;

export class Labels {
  hovered: number | undefined;
  /** Whether ages are shown, which go on while nothing moves. */
  showsAges = false;
  readonly course = new CourseTexts();
  /** Texts beside the course that are shown. */
  courseShown: string[] = [];
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

  draw({ view, zoom, covers, selected, dark }: Scene, { timeMs, nowMs }: Clock): void {
    const { context } = this;
    if (context === null) return;
    this.prepare(context, view);
    const names = this.course.inView(context, view, zoom, "names", covers);
    const taken = [...covers];
    this.showsAges = false;
    context.font = FONT;
    context.textAlign = "left";
    for (const [device, px, py] of this.candidates(view, timeMs, selected)) {
      const label = labelOf(this.store, device, nowMs);
      const text = textOf(label);
      const chip = label.number === "" && label.color === "" ? 0 : context.measureText(label.number).width + 2 * PADDING_PX;
      const gap = chip > 0 && text !== "" ? PADDING_PX : 0;
      const width = chip + gap + context.measureText(text).width + 8;
      const isStrong = device === selected || device === this.hovered;
      const box = choosePlace(besideMarker(px, py, width, view), taken, names, isStrong);
      if (box === undefined) continue;
      taken.push(box);
      if (chip > 0) this.writeNumber(context, label, box, chip, dark);
      const ink = isStrong ? INK.strong : label.age === "" ? INK.plain : INK.overdue;
      write(context, text, [box.x + chip + gap, box.y + HEIGHT_PX / 2], dark, ink);
      this.showsAges ||= label.age !== "";
    }
    const named = names.filter((text) => !taken.some((other) => overlaps(text, other)));
    const readable = [...named, ...this.course.inView(context, view, zoom, "kilometres", [...taken, ...named])];
    for (const text of readable) writeCourseText(context, text, dark);
    this.courseShown = readable.map(({ mark }) => mark.text);
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
    context.textBaseline = "middle";
  }

  private writeNumber(context: CanvasRenderingContext2D, label: Label, box: Box, width: number, dark: boolean): void {
    const color = label.color === "" ? (dark ? "#dbe5f7" : "#26344f") : label.color;
    context.beginPath();
    context.roundRect(box.x, box.y, width, HEIGHT_PX, 5);
    context.fillStyle = color;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = halo(dark);
    context.stroke();
    context.fillStyle = inkOn(color);
    context.fillText(label.number, box.x + PADDING_PX, box.y + HEIGHT_PX / 2);
  }
}

/** Where a label of this width is not cut, the best place first: right of its marker, left, below or above. */
export function besideMarker(px: number, py: number, width: number, view: { readonly width: number; readonly height: number }): Box[] {
  const y = Math.max(0, Math.min(py - HEIGHT_PX / 2, view.height - HEIGHT_PX));
  const x = Math.max(0, Math.min(px - width / 2, view.width - width));
  const [right, left, below, above] = [px + GAP_PX, px - GAP_PX - width, py + GAP_PX, py - GAP_PX - HEIGHT_PX];
  const places = [
    ...(right + width <= view.width ? [[right, y]] : []),
    ...(left >= 0 ? [[left, y]] : []),
    ...(below + HEIGHT_PX <= view.height ? [[x, below]] : []),
    ...(above >= 0 ? [[x, above]] : []),
  ] as [number, number][];
  return places.map(([left, top]) => ({ x: left, y: top, width, height: HEIGHT_PX }));
}

/** Where nothing is, best neither what would give way; if there is no room, only the one that must be shown has a place. */
export function choosePlace(places: readonly Box[], taken: readonly Box[], yielding: readonly Box[], must: boolean): Box | undefined {
  const free = places.filter((place) => !taken.some((other) => overlaps(place, other)));
  return free.find((place) => !yielding.some((other) => overlaps(place, other))) ?? free[0] ?? (must ? places[0] : undefined);
}

/** Name and age in one line, in which neither changes the other's direction. */
export function textOf({ name, age }: Label): string {
  return [isolate(name), age].filter((part) => part !== "").join(" · ");
}

/** What stands beside a marker: of the entry what is known, else the end of the device's id. */
export function labelOf(store: DeviceStore, device: number, nowMs: number): Label {
  const deviceId = store.ids[device] ?? "";
  const { number = "", name = "", color = "" } = store.entries.of(deviceId) ?? {};
  const age = store.isOverdue(device, nowMs) ? formatAge(nowMs - store.position(device).ts) : "";
  if (name === "" && number === "") return { number, color, name: shortId(deviceId), age };
  return { number: shorten(number, MAX_NUMBER_LENGTH), color, name: shorten(name, MAX_NAME_LENGTH), age };
}

/** The end of a long id, which is where the ids of one fleet differ. */
export function shortId(deviceId: string): string {
  const characters = [...deviceId];
  return characters.length <= 10 ? deviceId : `…${characters.slice(-6).join("")}`;
}
