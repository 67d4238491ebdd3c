/** What is left of the map where something lies on it. */

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Between what is shown and the edges of the map, or what lies there. */
const MAX_MARGIN_PX = 80;
const CONTROL_MARGIN_PX = 12;

/** How far from each edge of the map that is to be which is to be seen whole: inside its free part, beside the controls. */
export function margins(map: Box, free: Box, controls: readonly Box[]): { left: number; top: number; right: number; bottom: number } {
  const inner = uncovered(free, controls);
  const around = Math.min(MAX_MARGIN_PX, (free.right - free.left) / 6, (free.bottom - free.top) / 6);
  const beside = (taken: number): number => Math.max(around, taken === 0 ? 0 : taken + CONTROL_MARGIN_PX);
  return {
    left: free.left - map.left + beside(inner.left - free.left),
    top: free.top - map.top + beside(inner.top - free.top),
    right: map.right - free.right + beside(free.right - inner.right),
    bottom: map.bottom - free.bottom + beside(free.bottom - inner.bottom),
  };
}

/** The part of a box beside, above or below each of the covers: the largest one. */
export function uncovered(box: Box, covers: readonly Box[]): Box {
  return covers.reduce(largestBeside, box);
}

function largestBeside(box: Box, cover: Box): Box {
  const isApart = cover.right <= box.left || cover.left >= box.right || cover.bottom <= box.top || cover.top >= box.bottom;
  if (isApart || area(cover) === 0) return box;
  // One by one: what elements say of their boxes are no properties of their own.
  const { left, top, right, bottom } = box;
  const parts = [
    { left, top, right, bottom: Math.max(top, cover.top) },
    { left, top: Math.min(bottom, cover.bottom), right, bottom },
    { left, top, right: Math.max(left, cover.left), bottom },
    { left: Math.min(right, cover.right), top, right, bottom },
  ];
  return parts.reduce((largest, part) => (area(part) > area(largest) ? part : largest));
}

function area({ left, top, right, bottom }: Box): number {
  return (right - left) * (bottom - top);
}
