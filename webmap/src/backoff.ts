/** Exponential backoff with full jitter: many maps that lost one server must not come back in one instant. */

export interface BackoffPolicy {
  readonly firstMs: number;
  readonly maxMs: number;
}

export class Backoff {
  private attempts = 0;

  constructor(
    private readonly policy: BackoffPolicy,
    private readonly random: () => number = Math.random,
  ) {}

  /** Milliseconds to wait before the next attempt; at least `atLeastMs`, as a Retry-After asks for. */
  next(atLeastMs = 0): number {
    const ceiling = Math.min(this.policy.maxMs, this.policy.firstMs * 2 ** this.attempts);
    this.attempts = Math.min(this.attempts + 1, 30);
    // Half fixed, half random: never an immediate hammering, always a spread.
    return Math.round(atLeastMs + ceiling / 2 + (ceiling / 2) * this.random());
  }

  reset(): void {
    this.attempts = 0;
  }
}
