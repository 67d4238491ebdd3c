/**
 * How often a device reports, as a running estimate from the times of its positions.
 *
 * What is late is measured by it, and a marker takes about as long from one position to the next. 0 is not known yet.
 */

/** One lost position must not count as a new rhythm, nor one that comes twice: further than this at once it is not believed. */
const LEAP = 4;
/** Longer gaps are no rhythm but a tracker that was switched off. */
const LONGEST_MS = 300_000;
const SHORTEST_MS = 100;
/** Shares of the way to the newest gap. Shorter ones are less believed: packets bring several positions at once. */
const RISE = 0.5;
const FALL = 0.2;
/** A device is overdue after so many intervals, but not as soon as a packet or the network takes its time. */
const MISSED = 3;
const OVERDUE_FLOOR_MS = 15_000;
/** While its rhythm is not known. */
const OVERDUE_DEFAULT_MS = 60_000;
const GLIDE_DEFAULT_MS = 15_000;
/** A little longer than the rhythm: a marker that arrives too early would stop and start again at each position. */
const GLIDE_INTERVALS = 1.1;
const LONGEST_GLIDE_MS = 60_000;

/** The rhythm after a gap between two positions of `gapMs`. */
export function nextRhythm(rhythmMs: number, gapMs: number): number {
  if (gapMs <= 0 || gapMs > LONGEST_MS) return rhythmMs;
  const gap = Math.max(SHORTEST_MS, gapMs);
  if (rhythmMs === 0) return gap;
  return gap > rhythmMs
    ? rhythmMs + (Math.min(gap, LEAP * rhythmMs) - rhythmMs) * RISE
    : gap + (Math.min(rhythmMs, LEAP * gap) - gap) * (1 - FALL);
}

/** The age from which a device is overdue, and shown grey. */
export function overdueAfterMs(rhythmMs: number): number {
  return rhythmMs === 0 ? OVERDUE_DEFAULT_MS : Math.max(OVERDUE_FLOOR_MS, MISSED * rhythmMs);
}

/** How long a marker glides over a gap between two positions; 0: it jumps, because it was silent and its way is not known. */
export function glideMs(rhythmMs: number, gapMs: number): number {
  const longestGapMs = rhythmMs === 0 ? GLIDE_DEFAULT_MS : overdueAfterMs(rhythmMs);
  if (gapMs < 0 || gapMs > longestGapMs) return 0;
  return Math.min(LONGEST_GLIDE_MS, GLIDE_INTERVALS * nextRhythm(rhythmMs, gapMs));
}
