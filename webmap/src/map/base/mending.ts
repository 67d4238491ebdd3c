/** Asks again for what did not come: a few times, each after a longer while, and all of it when the server is back. */
import { Backoff } from "../../feed/backoff.ts";

const RETRY = { firstMs: 1_000, maxMs: 30_000 };
const MAX_TRIES = 6;

export interface TilePlace {
  readonly key: string;
  readonly z: number;
  readonly x: number;
  readonly y: number;
}

interface Missing {
  readonly tile: TilePlace;
  readonly backoff: Backoff;
  tries: number;
  timer?: ReturnType<typeof setTimeout>;
}

/** Tiles that did not come, for which the map itself does not ask again. */
export class Mending {
  private readonly missing = new Map<string, Missing>();

  constructor(private readonly ask: (tiles: readonly TilePlace[]) => void) {}

  failed(tile: TilePlace): void {
    const known: Missing = this.missing.get(tile.key) ?? { tile, backoff: new Backoff(RETRY), tries: 0 };
    this.missing.set(tile.key, known);
    clearTimeout(known.timer);
    // What fails so often is broken, not busy.
    if (known.tries >= MAX_TRIES) return;
    known.tries += 1;
    known.timer = setTimeout(() => this.ask([tile]), known.backoff.next());
  }

  came(key: string): void {
    clearTimeout(this.missing.get(key)?.timer);
    this.missing.delete(key);
  }

  /** Ask for all of them at once, and as often as for others. */
  askAll(): void {
    const tiles = [...this.missing.values()].map(({ tile }) => tile);
    for (const { key } of tiles) this.came(key);
    if (tiles.length > 0) this.ask(tiles);
  }
}

/** What is loaded, at the first try that succeeds. Rejects as the last one does. */
export async function persist<T>(load: () => Promise<T>, wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))): Promise<T> {
  const backoff = new Backoff(RETRY);
  for (let tries = 1; ; tries++) {
    try {
      return await load();
    } catch (error) {
      if (tries === MAX_TRIES) throw error;
      await wait(backoff.next());
    }
  }
}
