/** What the server says of itself: where it is, which events there are, who watches, and what time it is. */
import { probe } from "../feed/probe.ts";
import { SessionWatch } from "../feed/session.ts";
import type { FeedState } from "../feed/state.ts";
import { ServerClock } from "../page/clock.ts";
import { fetchConfig, type Config } from "../page/config.ts";
import { ConfigLoader } from "../page/configLoader.ts";
import { Asking } from "./asking.ts";

export interface ServerListener {
  state(state: FeedState): void;
  /** It is known: for the first time, or for whoever signed in. */
  known(config: Config): void;
  /** It is not what it was: there are other events, or somebody else watches. */
  changed(config: Config, before: Config): void;
  /** Whoever watched is signed out, elsewhere. */
  signedOut(): void;
}

export class Server {
  private readonly clock = new ServerClock();
  private readonly loader: ConfigLoader;
  private readonly session: SessionWatch;
  private readonly asking = new Asking(() => this.askAgain());
  private current: Config | undefined;

  constructor(
    private readonly url: string,
    private readonly listener: ServerListener,
  ) {
    this.loader = new ConfigLoader(url, {
      state: (state) => listener.state(state),
      config: (config) => {
        this.take(config);
        listener.known(config);
      },
    });
    this.session = new SessionWatch(
      () => this.isSignedOut(),
      () => void this.load(),
    );
  }

  /** What was said last; undefined while nobody is signed in, and before it is known. */
  get config(): Config | undefined {
    return this.current;
  }

  /** Epoch milliseconds. */
  get nowMs(): number {
    return this.clock.nowMs;
  }

  /** Ask until it is known. */
  async load(): Promise<void> {
    await this.loader.load();
  }

  /** Somebody else may watch from now on, or there are other events: ask again soon, while what is shown stays. */
  mayHaveChanged(): void {
    if (this.current === undefined) void this.session.ask();
    else this.asking.soon();
  }

  /** Nobody is signed in: what was said is no longer so. */
  forget(): void {
    this.current = undefined;
  }

  /** Ask now and then whether somebody is signed in again, or stop it. */
  watchSession(on: boolean): void {
    this.session.watch(on);
  }

  /** Ask for the time again, if the browser's clock was set. */
  tick(): void {
    if (this.clock.mustAsk()) this.mayHaveChanged();
  }

  private take(config: Config): void {
    this.current = config;
    this.clock.set(config.nowMs);
  }

  /** Return whether there was an answer. */
  private async askAgain(): Promise<boolean> {
    const before = this.current;
    if (before === undefined) return true;
    const answer = await fetchConfig(this.url);
    // Somebody was signed out meanwhile, or in again.
    if (before !== this.current) return true;
    if (answer.kind === "signed-out") this.listener.signedOut();
    if (answer.kind !== "ok") return answer.kind === "signed-out";
    const { config } = answer;
    this.take(config);
    if (config.viewer !== before.viewer || JSON.stringify(config.events) !== JSON.stringify(before.events)) this.listener.changed(config, before);
    return true;
  }

  private async isSignedOut(): Promise<boolean> {
    const { kind } = await probe([this.url]);
    return kind === "signed-out" || kind === "full" || kind === "unreachable";
  }
}
