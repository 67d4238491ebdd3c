/** Asks again when there is a reason to; ten thousand pages that have one all the time must not become a storm. */
import { Backoff } from "../feed/backoff.ts";

/** In the long run a page asks as often as this, which is how often the server checks its rights too. */
const EVERY_MS = 60_000;
/** A few questions may come earlier: people who sign in go to and fro. */
const EARLY_MS = 3 * EVERY_MS;
const RETRY = { firstMs: 4_000, maxMs: 60_000 };

export class Asking {
  private readonly backoff = new Backoff(RETRY);
  private timer: ReturnType<typeof setTimeout> | undefined;
  /** When the next question is due if all come at even intervals. */
  private dueMs = -Infinity;

  /** `ask` says whether there was an answer. */
  constructor(
    private readonly ask: () => Promise<boolean>,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** Ask at once, or as soon as there may be another question; nothing that gave reason to is missed. */
  soon(atLeastMs = 0): void {
    if (this.timer !== undefined) return;
    this.timer = setTimeout(() => void this.run(), Math.max(atLeastMs, this.dueMs - EARLY_MS - this.nowMs()));
  }

  private async run(): Promise<void> {
    this.dueMs = Math.max(this.dueMs, this.nowMs()) + EVERY_MS;
    // A reason that comes while the answer is on its way is one to ask again.
    this.timer = undefined;
    if (await this.ask()) this.backoff.reset();
    else this.soon(this.backoff.next());
  }
}
