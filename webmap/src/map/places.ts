/** Where the label of a marker may stand, and which of these places it takes. */
import { overlaps, type Box } from "./writing.ts";

export const LABEL_HEIGHT_PX = 16;
/** From the middle of a marker to its label. */
const GAP_PX = 14;

/** What goes above or below its marker may be slid: so much of it is left of the marker then. */
const SLID_SHARES = [0.25, 0.75, 0, 1] as const;

export interface LabelPlace extends Box {
  /** Tells the places of one marker apart. */
  readonly side: string;
}

/** What is on the map already. */
export interface Obstacles {
  /** Where nothing else may stand. */
  readonly taken: readonly Box[];
  /** What would give way. */
  readonly yielding: readonly Box[];
  /** What a label may cover where there is no better place. */
  readonly markers: readonly Box[];
}

/**
 * Where a label of this width is not cut, the best place first: right of its marker, left, below or above; slid as well if it
 * must be shown. With so many places the labels of a crowd would rather move all the time than make room.
 */
export function besideMarker(px: number, py: number, width: number, view: { readonly width: number; readonly height: number }, must: boolean): LabelPlace[] {
  const height = LABEL_HEIGHT_PX;
  const y = Math.max(0, Math.min(py - height / 2, view.height - height));
  const x = Math.max(0, Math.min(px - width / 2, view.width - width));
  const [right, left, below, above] = [px + GAP_PX, px - GAP_PX - width, py + GAP_PX, py - GAP_PX - height];
  const slid = (must ? SLID_SHARES : []).flatMap((share): [string, number, number][] => {
    const at = px - share * width;
    return [[`below ${share}`, at, below], [`above ${share}`, at, above]];
  });
  const places: [string, number, number][] = [["right", right, y], ["left", left, y], ["below", x, below], ["above", x, above], ...slid];
  const end = Math.max(view.width, width);
  return places
    .filter(([, at, top]) => at >= 0 && at + width <= end && top >= 0 && top + height <= view.height)
    .map(([side, at, top]) => ({ side, x: at, y: top, width, height }));
}

/**
 * The place at which nothing is, best neither what would give way nor a marker; if there is no room, only a label that must
 * be shown has a place. One that was at a side stays there as long as it is free: else labels of markers that pass each
 * other would jump to and fro.
 */
export function choosePlace(places: readonly LabelPlace[], { taken, yielding, markers }: Obstacles, must: boolean, before?: string): LabelPlace | undefined {
  const isClear = (place: Box, of: readonly Box[]): boolean => !of.some((other) => overlaps(place, other));
  const same = places.find(({ side }) => side === before);
  if (same !== undefined && isClear(same, taken) && isClear(same, yielding)) return same;
  const free = places.filter((place) => isClear(place, taken));
  const clear = free.filter((place) => isClear(place, yielding));
  return clear.find((place) => isClear(place, markers)) ?? clear[0] ?? free[0] ?? (must ? places[0] : undefined);
}
