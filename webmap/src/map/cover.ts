/** What is left of the map where something lies on it. */

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
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
