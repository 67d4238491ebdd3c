/** Which rows of a long list must exist: 10,000 devices then cost as much as 50. */

export interface Rows {
  readonly first: number;
  /** One past the last. */
  readonly end: number;
}

/** Up to this many rows, all of them exist. */
const ALL_ROWS = 200;
/** Rows kept ready above and below the visible part. */
const MARGIN_ROWS = 12;

export function visibleRows(count: number, rowPx: number, scrollPx: number, heightPx: number): Rows {
  if (count <= ALL_ROWS) return { first: 0, end: count };
  const first = Math.floor(scrollPx / rowPx) - MARGIN_ROWS;
  const end = Math.ceil((scrollPx + heightPx) / rowPx) + MARGIN_ROWS;
  return { first: Math.max(0, Math.min(first, count)), end: Math.max(0, Math.min(end, count)) };
}

/** The row that a key moves to from `active` (-1: none); undefined if the key does not move. */
export function rowForKey(key: string, active: number, count: number, pageRows: number): number | undefined {
  const steps: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1, PageDown: pageRows, PageUp: -pageRows };
  const step = steps[key];
  if (count === 0) return undefined;
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  return step === undefined ? undefined : Math.max(0, Math.min(count - 1, active + step));
}
