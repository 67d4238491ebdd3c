/** A clock, timers and sockets under the test's hand. */
import type { FeedEnvironment, FeedListener, Socket } from "../../src/feed/environment.ts";
import type { EntriesByDevice } from "../../src/feed/entries.ts";
import type { Refusal } from "../../src/feed/probe.ts";
import type { Position } from "../../src/feed/protocol.ts";
import type { FeedState } from "../../src/feed/state.ts";

export class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number }) => void) | null = null;
  readonly sent: Record<string, unknown>[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.closed = true;
  }

  answer(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

export class FakeWorld implements FeedEnvironment, FeedListener {
  readonly sockets: FakeSocket[] = [];
  readonly states: FeedState[] = [];
  readonly positions: Position[] = [];
  readonly snapshots: { positions: readonly Position[]; resumed: boolean }[] = [];
  readonly parts: string[] = [];
  readonly told: { names: string[]; replaces: boolean }[] = [];
  refusal: Refusal = { kind: "unreachable" };
  private time = 1_000_000;
  private timers: { at: number; action: () => void }[] = [];

  connect(): Socket {
    const socket = new FakeSocket();
    this.sockets.push(socket);
    return socket;
  }

  probe(): Promise<Refusal> {
    return Promise.resolve(this.refusal);
  }

  now(): number {
    return this.time;
  }

  random(): number {
    return 1;
  }

  after(delayMs: number, action: () => void): () => void {
    const timer = { at: this.time + delayMs, action };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  state(state: FeedState): void {
    this.states.push(state);
  }

  position(position: Position): void {
    this.positions.push(position);
  }

  snapshot(positions: readonly Position[], resumed: boolean): void {
    this.snapshots.push({ positions, resumed });
  }

  begin(positions: readonly Position[]): void {
    this.parts.push(`begins with ${positions.length}`);
  }

  complete(): void {
    this.parts.push("complete");
  }

  removed(deviceId: string): void {
    this.parts.push(`without ${deviceId}`);
  }

  renewed(): void {
    this.parts.push("renewed");
  }

  entries(entries: EntriesByDevice, replaces: boolean): void {
    this.told.push({ names: [...entries.values()].map(({ name }) => name), replaces });
  }

  /** Let time pass, running what falls due on the way in order. */
  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.at <= end).sort((one, other) => one.at - other.at)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.time = next.at;
      next.action();
    }
    this.time = end;
  }

  get socket(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }

  get last(): FeedState | undefined {
    return this.states.at(-1);
  }
}
