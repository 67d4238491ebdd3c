/** The past in pieces: fetched one at a time, what is played next first, and only so many of them kept. */
import type { Archive, Span } from "./archive.ts";
import type { Track } from "./past.ts";

/** With 50,000 positions in each, which is the most that the server gives at once, below 20 MB. */
const MOST_KEPT = 12;
/** A piece that could not be read is asked for again after this long. */
const AGAIN_AFTER_MS = 5_000;

export interface Chunk extends Span {
  readonly tracks: readonly Track[];
}

export class Chunks {
  /** Whether the last piece that was asked for could not be read. */
  failed = false;
  /** Least recently used first. */
  private kept: Chunk[] = [];
  private loading: { readonly span: Span; readonly controller: AbortController } | undefined;

  constructor(
    private readonly archive: Archive,
    private readonly eventId: string,
    private readonly later: (action: () => void, ms: number) => unknown = setTimeout,
  ) {}

  get count(): number {
    return this.kept.length;
  }

  /** The piece of this resolution that holds a time; undefined if it is not here. */
  find(timeMs: number, stepMs: number): Chunk | undefined {
    const at = this.kept.findIndex((chunk) => isWhole(chunk, stepMs) && chunk.fromMs <= timeMs && timeMs < chunk.toMs);
    if (at < 0) return undefined;
    const [found] = this.kept.splice(at, 1) as [Chunk];
    this.kept.push(found);
    return found;
  }

  /** The piece of this resolution that begins at a time; undefined if it is not here. */
  from(fromMs: number, stepMs: number): Chunk | undefined {
    return this.kept.find((chunk) => isWhole(chunk, stepMs) && chunk.fromMs === fromMs);
  }

  /** The newest positions before a time; undefined if they are not here. */
  before(timeMs: number): Chunk | undefined {
    return this.kept.find((chunk) => chunk.newest !== undefined && chunk.toMs === timeMs);
  }

  /** Fetch a span. One that is being fetched instead is given up, which ends the server's work for it too. */
  fetch(span: Span): void {
    if (this.loading !== undefined) {
      if (isSame(this.loading.span, span)) return;
      this.loading.controller.abort();
    }
    const loading = { span, controller: new AbortController() };
    this.loading = loading;
    void this.archive.read(this.eventId, span, loading.controller.signal).then((past) => {
      if (this.loading !== loading) return;
      this.failed = past === undefined;
      // Until then the same span counts as being fetched.
      if (past === undefined) this.later(() => this.loading === loading && this.stop(), AGAIN_AFTER_MS);
      else this.keep({ ...span, toMs: past.toMs, tracks: past.tracks });
    });
  }

  /** Give up what is being fetched. */
  stop(): void {
    this.loading?.controller.abort();
    this.loading = undefined;
  }

  private keep(chunk: Chunk): void {
    this.loading = undefined;
    this.kept.push(chunk);
    if (this.kept.length > MOST_KEPT) this.kept.shift();
  }
}

function isWhole(chunk: Chunk, stepMs: number): boolean {
  return chunk.stepMs === stepMs && chunk.newest === undefined;
}

function isSame(one: Span, other: Span): boolean {
  return one.fromMs === other.fromMs && one.stepMs === other.stepMs && one.newest === other.newest;
}
