/** Asks for the configuration until the server gives an answer that waiting cannot change. */
import { Backoff } from "../feed/backoff.ts";
import { signedOut, type FeedState } from "../feed/state.ts";
import { fetchConfig, type Config } from "./config.ts";

const RETRY = { firstMs: 1_000, maxMs: 30_000 };

export interface ConfigListener {
  state(state: FeedState): void;
  config(config: Config): void;
}

export class ConfigLoader {
  private readonly backoff = new Backoff(RETRY);
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly url: string,
    private readonly listener: ConfigListener,
  ) {}

  /** Ask now, and again later if the server cannot answer. */
  async load(): Promise<void> {
    clearTimeout(this.timer);
    const answer = await fetchConfig(this.url);
    switch (answer.kind) {
      case "ok":
        this.backoff.reset();
        return this.listener.config(answer.config);
      case "signed-out":
        return this.listener.state(signedOut(answer.text, answer.signInUrl));
      case "refused":
        return this.listener.state({ name: "error", text: answer.text ?? "The server does not accept what this browser sends." });
      case "missing":
        return this.listener.state({ name: "error", text: "This server has no live map." });
      case "unavailable":
        return this.retry("The server cannot list your events now.", answer.retryAfterMs);
      case "unreachable":
        return this.retry("The server cannot be reached.", 0);
    }
  }

  private retry(text: string, atLeastMs: number): void {
    const delayMs = this.backoff.next(atLeastMs);
    this.listener.state({ name: "reconnecting", text, retryAt: Date.now() + delayMs });
    this.timer = setTimeout(() => void this.load(), delayMs);
  }
}
