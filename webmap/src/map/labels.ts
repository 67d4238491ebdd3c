/** Names beside the markers, while they are few enough to be read, and beside the course, on a canvas of their own. */
import { formatAge } from "../devices/age.ts";
import { inkOn } from "../devices/entries.ts";
import type { DeviceStore } from "../devices/store.ts";
import { isolate, shorten } from "../devices/text.ts";
import { CourseTexts, writeCourseText, type CourseText } from "./courseTexts.ts";
import type { Clock } from "./gl/buffer.ts";
import { visitMarkers } from "./gl/markers.ts";
import type { View } from "./gl/view.ts";
import { besideMarker, choosePlace, LABEL_HEIGHT_PX, type LabelPlace, type Obstacles } from "./places.ts";
import { halo, overlaps, write, type Box } from "./writing.ts";

const MAX_LABELS = 80;
const PADDING_PX = 5;
/** From the middle of a marker to its edge. */
const MARKER_PX = 8;
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

/** A device in view, and where its marker is, in CSS pixels. */
interface Marker {
  readonly device: number;
  readonly px: number;
  readonly py: number;
}

/** How names are written, in the dark and in the light. */
const INK = { overdue: ["#8d99b0", "#6b7689"], plain: ["#c6d2e8", "#33415a"], strong: ["#ffffff", "#0b1220"] } as const;

export class Labels {
  /** Whose marker the mouse is on: in a replay devices have other indexes. */
  hovered: string | undefined;
  /** Whether ages are shown, which go on while nothing moves. */
  showsAges = false;
  readonly course = new CourseTexts();
  /** Texts beside the course that are shown. */
  courseShown: string[] = [];
  /** On which side of its marker each label stands. */
  private sides: ReadonlyMap<number, string> = new Map();
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

  draw(scene: Scene, clock: Clock): void {
    const { context } = this;
    if (context === null) return;
    const { view, zoom, covers, selected, dark } = scene;
    this.prepare(context, view);
    const names = this.course.inView(context, view, zoom, "names", covers);
    const taken: Box[] = [...covers];
    const [strong, others] = this.candidates(view, clock.timeMs, selected);
    const markers = [...strong, ...others].map(({ px, py }): Box => ({ x: px - MARKER_PX, y: py - MARKER_PX, width: 2 * MARKER_PX, height: 2 * MARKER_PX }));
    const sides = new Map<number, string>();
    this.showsAges = false;
    const label = (marker: Marker, isStrong: boolean): void => {
      const place = this.label(context, marker, { taken, yielding: names, markers }, scene, clock, isStrong);
      if (place === undefined) return;
      taken.push(place);
      sides.set(marker.device, place.side);
    };
    for (const marker of strong) label(marker, true);
    const isFree = (text: CourseText): boolean => !taken.some((other) => other !== text && overlaps(text, other));
    // Where a race begins and ends is more than one of its names.
    taken.push(...names.filter((text) => !text.mark.isMinor && isFree(text)));
    for (const marker of others.length <= MAX_LABELS ? others : []) label(marker, false);
    this.sides = sides;
    const named = names.filter(isFree);
    const readable = [...named, ...this.course.inView(context, view, zoom, "kilometres", [...taken, ...named])];
    for (const text of readable) writeCourseText(context, text, dark);
    this.courseShown = readable.map(({ mark }) => mark.text);
    // Chromium may lose that a canvas was cleared when nothing is drawn after it, and show an older picture.
    this.canvas.hidden = sides.size === 0 && readable.length === 0;
  }

  /** Show nothing: there is no map. */
  clear(): void {
    this.canvas.hidden = true;
    this.showsAges = false;
    this.courseShown = [];
  }

  /** Write what stands beside a marker, and tell where; undefined if there is no room. */
  private label(context: CanvasRenderingContext2D, { device, px, py }: Marker, obstacles: Obstacles, { view, dark }: Scene, { nowMs }: Clock, isStrong: boolean): LabelPlace | undefined {
    const label = labelOf(this.store, device, nowMs);
    const text = textOf(label);
    context.font = FONT;
    context.textAlign = "left";
    const chip = label.number === "" && label.color === "" ? 0 : context.measureText(label.number).width + 2 * PADDING_PX;
    const gap = chip > 0 && text !== "" ? PADDING_PX : 0;
    const width = chip + gap + context.measureText(text).width + 8;
    const place = choosePlace(besideMarker(px, py, width, view, isStrong), obstacles, isStrong, this.sides.get(device));
    if (place === undefined) return undefined;
    if (chip > 0) this.writeNumber(context, label, place, chip, dark);
    const ink = isStrong ? INK.strong : label.age === "" ? INK.plain : INK.overdue;
    write(context, text, [place.x + chip + gap, place.y + LABEL_HEIGHT_PX / 2], dark, ink);
    this.showsAges ||= label.age !== "";
    return place;
  }

  /** Visible devices: those that are preferred, and the others, of which one more than can be shown says that there are too many. */
  private candidates(view: View, timeMs: number, selected: number | undefined): [strong: Marker[], others: Marker[]] {
    const strong: Marker[] = [];
    const others: Marker[] = [];
    visitMarkers(this.store, selected, view, timeMs, 0, (device, px, py) => {
      if (device === selected || this.store.ids[device] === this.hovered) strong.push({ device, px, py });
      else if (others.length <= MAX_LABELS) others.push({ device, px, py });
    });
    return [strong, others];
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
    context.roundRect(box.x, box.y, width, LABEL_HEIGHT_PX, 5);
    context.fillStyle = color;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = halo(dark);
    context.stroke();
    context.fillStyle = inkOn(color);
    context.fillText(label.number, box.x + PADDING_PX, box.y + LABEL_HEIGHT_PX / 2);
  }
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
