/** What stands beside the course: names of start, finish and other places, and kilometres. */
import type { Course } from "../course/course.ts";
import { mercatorX, mercatorY } from "../devices/mercator.ts";
import { isolate, shorten } from "../devices/text.ts";
import { marksOf } from "./course.ts";
import { isVisible, project, type View } from "./gl/view.ts";
import { overlaps, write, type Box, type Ink } from "./writing.ts";

interface Style {
  readonly font: string;
  readonly lineHeightPx: number;
  /** From the middle of the mark to its text. */
  readonly besidePx: number;
}

const NAME: Style = { font: "600 12.5px system-ui, sans-serif", lineHeightPx: 15, besidePx: 9 };
/** So far from the line that the name of a marker on it has room. */
const KILOMETRE: Style = { font: "500 11px system-ui, sans-serif", lineHeightPx: 13, besidePx: 8 };
const INK: Ink = ["#dbe5f7", "#26344f"];
/** A name that is longer continues in another line; a word that is longer still is cut. */
const LINE_LENGTH = 18;
const MAX_WORD_LENGTH = 24;
/** As far as a text may be beside the view and still reach into it. */
const REACH_PX = 80;

interface Mark {
  readonly text: string;
  readonly lines: readonly string[];
  readonly isKilometre: boolean;
  readonly x: number;
  readonly y: number;
  /** Zoom from which on it is shown. */
  readonly zoom: number;
  /** Neither start nor finish. */
  readonly isMinor: boolean;
}

export interface CourseText extends Box {
  readonly mark: Mark;
}

export class CourseTexts {
  /** The more important ones first, which are shown where there is no room for all. */
  private marks: readonly Mark[] = [];

  set(course: Course | undefined): void {
    const marks = (course === undefined ? [] : marksOf(course)).filter(({ text }) => text !== "");
    this.marks = marks
      .map(({ kind, text, place: [lon, lat], zoom }): Mark => {
        const isKilometre = kind === "kilometre";
        const lines = isKilometre ? [text] : linesOf(text).map(isolate);
        return { text, lines, isKilometre, x: mercatorX(lon), y: mercatorY(lat), zoom, isMinor: kind === "point" };
      })
      .sort((one, other) => one.zoom - other.zoom || Number(one.isMinor) - Number(other.isMinor));
  }

  /** The names or kilometres in view that have room beside each other and what takes room already. */
  inView(context: CanvasRenderingContext2D, view: View, zoom: number, kind: "names" | "kilometres", taken: readonly Box[]): CourseText[] {
    const found: CourseText[] = [];
    for (const mark of this.marks) {
      if (mark.zoom > zoom || mark.isKilometre !== (kind === "kilometres")) continue;
      const [px, py] = project(view, mark.x, mark.y);
      if (!isVisible(view, px, py, REACH_PX)) continue;
      context.font = styleOf(mark).font;
      const width = Math.max(...mark.lines.map((line) => context.measureText(line).width));
      const free = besideMark(px, py, width, mark).find((box) => ![...taken, ...found].some((other) => overlaps(box, other)));
      if (free !== undefined) found.push({ mark, ...free });
    }
    return found;
  }
}

function styleOf({ isKilometre }: Mark): Style {
  return isKilometre ? KILOMETRE : NAME;
}

/** Where the text of a mark may stand, the usual place first: below it, else above, and a name beside it. */
function besideMark(px: number, py: number, width: number, mark: Mark): Box[] {
  const style = styleOf(mark);
  const height = mark.lines.length * style.lineHeightPx;
  const box = (x: number, y: number): Box => ({ x, y, width, height });
  const below = box(px - width / 2, py + style.besidePx);
  const above = box(px - width / 2, py - style.besidePx - height);
  if (mark.isKilometre) return [below, above];
  const top = py - height / 2;
  return [below, box(px - style.besidePx - width, top), box(px + style.besidePx, top), above];
}

export function writeCourseText(context: CanvasRenderingContext2D, { mark, x, y, width }: CourseText, dark: boolean): void {
  const style = styleOf(mark);
  context.font = style.font;
  context.textAlign = "center";
  mark.lines.forEach((line, at) => write(context, line, [x + width / 2, y + (at + 0.5) * style.lineHeightPx], dark, INK));
}

/** A name in lines of which each has as many words as fit. */
export function linesOf(name: string): string[] {
  return name.split(/\s+/).reduce<string[]>((lines, word) => {
    const longer = `${lines.at(-1) ?? ""} ${word}`.trim();
    return lines.length > 0 && longer.length <= LINE_LENGTH ? [...lines.slice(0, -1), longer] : [...lines, shorten(word, MAX_WORD_LENGTH)];
  }, []);
}
