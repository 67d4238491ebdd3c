/** What the feed needs from outside, and whom it tells: a test brings its own of each. */
import type { EntriesByDevice } from "./entries.ts";
import type { Refusal } from "./probe.ts";
import type { Position } from "./protocol.ts";
import type { FeedState } from "./state.ts";

/** The part of a WebSocket that the feed uses. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number }) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface FeedEnvironment {
  connect(): Socket;
  /** Ask by plain HTTP why an upgrade was refused. */
  probe(): Promise<Refusal>;
  /** Epoch milliseconds. */
  now(): number;
  /** Run `action` later; call the result to cancel it. */
  after(delayMs: number, action: () => void): () => void;
  /** A number from 0 to 1. */
  random(): number;
}

export interface FeedListener {
  state(state: FeedState): void;
  position(position: Position): void;
  /** `resumed`: the positions were missed, and do not replace what is shown. */
  snapshot(positions: readonly Position[], resumed: boolean): void;
  /** The first part of a snapshot; the rest comes as positions, until it is `complete`. */
  begin(positions: readonly Position[]): void;
  complete(): void;
  removed(deviceId: string): void;
  /** Another session has followed the one that the server knew: somebody else's, perhaps. */
  renewed(): void;
  /** Who devices are; `replaces`: those that are missing are not known any more. */
  entries(entries: EntriesByDevice, replaces: boolean): void;
}
