/** The only place that shows the state of the connection: in words, in colour, to screen readers, and as data-state. */
import { byId, setText } from "./dom.ts";
import { CONNECTING, describe, type FeedState, type StateName } from "../feed/state.ts";

const NOTICES: Partial<Record<StateName, string>> = {
  idle: "Choose an event above, or type its id.",
  forbidden: "If you think you should, ask the organiser for access.",
  "not-found": "Check the event's id, or choose another one above.",
  "signed-out": "The map continues by itself when you are signed in again.",
  "no-map": "The list still works. To see the map, which needs WebGL 2, reload the page.",
  error: "Please try again, or tell whoever runs this server.",
};

/** In a frame there is nothing above the map, and no list beside it. */
const NOTICES_IN_A_FRAME: Partial<Record<StateName, string>> = {
  ...NOTICES,
  idle: "Open the whole map to choose one.",
  "not-found": "Open the whole map to choose another one.",
  "no-map": "To see the map, which needs WebGL 2, reload the page.",
};

/** Instead of the notice where somebody may see less for want of a session. */
const SIGN_IN = "You may if you sign in: the map continues when you come back.";

const RETRYABLE: ReadonlySet<StateName> = new Set(["reconnecting", "forbidden", "not-found", "signed-out", "no-map", "error"]);

export class StatusBar {
  private readonly text = byId("status-text", HTMLElement);
  private readonly spoken = byId("status-spoken", HTMLElement);
  private readonly retry = byId("retry", HTMLButtonElement);
  private readonly notice = byId("notice", HTMLElement);
  private readonly signIn = byId("sign-in", HTMLAnchorElement);
  private current: FeedState = CONNECTING;

  constructor(onRetry: () => void) {
    this.retry.addEventListener("click", onRetry);
  }

  get state(): FeedState {
    return this.current;
  }

  show(state: FeedState): void {
    this.current = state;
    document.body.dataset["state"] = state.name;
    // Without the seconds: a screen reader should not count down aloud.
    setText(this.spoken, state.text);
    this.retry.hidden = !RETRYABLE.has(state.name);
    setText(this.retry, state.name === "no-map" ? "Reload" : "Try again");
    const notice = ("embed" in document.body.dataset ? NOTICES_IN_A_FRAME : NOTICES)[state.name];
    this.notice.hidden = notice === undefined;
    setText(byId("notice-title", HTMLElement), state.text);
    const mayHelp = state.name === "forbidden" && state.signInUrl !== undefined;
    setText(byId("notice-text", HTMLElement), mayHelp ? SIGN_IN : (notice ?? ""));
    this.signIn.hidden = state.signInUrl === undefined;
    if (state.signInUrl !== undefined) this.signIn.href = state.signInUrl;
    this.tick();
  }

  /** Update the seconds. */
  tick(): void {
    setText(this.text, describe(this.current, Date.now(), "replay" in document.body.dataset));
  }
}
