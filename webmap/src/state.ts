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
  | "error";

export interface FeedState {
  readonly name: StateName;
  readonly text: string;
  /** When the next attempt starts, epoch milliseconds; absent when none is planned. */
  readonly retryAt?: number;
  /** When the last frame came, epoch milliseconds; given while stale. */
  readonly since?: number;
}

/** Fill in the running seconds: the text changes every second, the state does not. */
export function describe(state: FeedState, nowMs: number): string {
  if (state.retryAt !== undefined) {
    const seconds = Math.max(0, Math.ceil((state.retryAt - nowMs) / 1000));
    return seconds > 0 ? `${state.text} Trying again in ${seconds} s.` : `${state.text} Trying again now.`;
  }
  if (state.since !== undefined) {
    return `${state.text} for ${Math.max(0, Math.floor((nowMs - state.since) / 1000))} s.`;
  }
  return state.text;
}

const ENDS: Readonly<Record<number, string>> = {
  1001: "The server is restarting.",
  1009: "The server refused a message as too large.",
  4408: "This connection was too slow to keep up.",
  4429: "The server asks for fewer requests.",
};

/** Say why a connection ended, by its close code. */
export function closeReason(code: number): string {
  return ENDS[code] ?? "The connection was lost.";
}
