/** The server's clock, by which positions are as old as they are, whatever the clock of this machine says. */

/** Differences of the two clocks of a browser beyond this mean that one was set, or stood still while the machine slept. */
const SHIFT_MS = 500;
const AGAIN_AFTER_MS = 10_000;

export class ServerClock {
  private aheadMs = 0;
  private apartMs: number;
  private askAt = 0;

  constructor(
    private readonly wallMs: () => number = () => Date.now(),
    private readonly monotonicMs: () => number = () => performance.now(),
  ) {
    this.apartMs = this.apart;
  }

  /** Epoch milliseconds. */
  get nowMs(): number {
    return this.wallMs() + this.aheadMs;
  }

  /** Take the time that the server said just now. */
  set(serverMs: number): void {
    this.aheadMs = serverMs - this.wallMs();
    this.apartMs = this.apart;
  }

  /** Whether the server is to be asked again; true at most once in ten seconds. */
  mustAsk(): boolean {
    const timeMs = this.monotonicMs();
    if (Math.abs(this.apart - this.apartMs) <= SHIFT_MS || timeMs < this.askAt) return false;
    this.askAt = timeMs + AGAIN_AFTER_MS;
    return true;
  }

  private get apart(): number {
    return this.wallMs() - this.monotonicMs();
  }
}
