/** Finds out that somebody who was signed out is signed in again, most likely in another tab. */
import { Backoff } from "./backoff.ts";

const RETRY = { firstMs: 4_000, maxMs: 60_000 };

export class SessionWatch {
  private readonly backoff = new Backoff(RETRY);
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** `isOver` asks the server; `isBack` is called once it says no. */
  constructor(
    private readonly isOver: () => Promise<boolean>,
    private readonly isBack: () => void,
  ) {}

  /** Begin to ask now and then, or stop it. */
  watch(on: boolean): void {
    if (on === (this.timer !== undefined)) return;
    this.backoff.reset();
    if (on) this.askLater();
    else this.stop();
  }

  /** Ask now: whoever signed in elsewhere comes back. */
  async ask(): Promise<void> {
    const { timer } = this;
    if (timer === undefined || (await this.isOver())) return;
    // Unless it was found out meanwhile.
    if (timer === this.timer) this.end();
  }

  private askLater(): void {
    const timer = setTimeout(() => {
      void this.isOver().then((over) => {
        if (timer !== this.timer) return;
        if (over) this.askLater();
        else this.end();
      });
    }, this.backoff.next());
    this.timer = timer;
  }

  private end(): void {
    this.stop();
    this.isBack();
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
