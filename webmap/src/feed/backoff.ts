/** Exponential backoff with jitter: maps that lost the same server must not all return at once. */

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
    // Half fixed, half random: never at once, always spread out.
    return Math.round(atLeastMs + ceiling / 2 + (ceiling / 2) * this.random());
  }

  reset(): void {
    this.attempts = 0;
  }
}
