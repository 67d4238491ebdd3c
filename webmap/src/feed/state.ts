/** What the connection is doing, as the status bar and `document.body.dataset.state` show it. */

export type StateName =
  | "idle"
  | "connecting"
  | "live"
  | "reconnecting"
  | "stale"
  | "forbidden"
  | "not-found"
  | "signed-out"
  | "no-map"
  | "error";

export interface FeedState {
  readonly name: StateName;
  readonly text: string;
  /** When the next attempt starts, epoch milliseconds; absent when none is planned. */
  readonly retryAt?: number;
  /** When the last position came, epoch milliseconds; given while stale. */
  readonly since?: number;
  /** Where to sign in; given while that may help, if the server says it. */
  readonly signInUrl?: string;
}

export const CONNECTING: FeedState = { name: "connecting", text: "Connecting…" };

/** Without a session; `text` is the server's sentence, if it has one. */
export function signedOut(text: string | undefined, signInUrl: string | undefined): FeedState {
  return leading({ name: "signed-out", text: text ?? "You are signed out. Please sign in to see the map." }, signInUrl);
}

/** The state that leads to where one signs in, if that is known. */
export function leading(state: FeedState, signInUrl: string | undefined): FeedState {
  return signInUrl === undefined ? state : { ...state, signInUrl };
}

/** The state's text with its seconds: the text changes every second, the state does not. What is replayed is neither live nor late. */
export function describe(state: FeedState, nowMs: number, replays: boolean): string {
  if (replays && (state.name === "live" || state.name === "stale")) return "Replay";
  if (state.retryAt !== undefined) {
    const seconds = Math.max(0, Math.ceil((state.retryAt - nowMs) / 1000));
    return seconds > 0 ? `${state.text} Trying again in ${seconds} s.` : `${state.text} Trying again now.`;
  }
  if (state.since !== undefined) {
    return `${state.text} for ${Math.max(0, Math.floor((nowMs - state.since) / 1000))} s.`;
  }
  return state.text;
}
