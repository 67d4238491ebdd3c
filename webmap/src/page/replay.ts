/** The controls of a replay: the slider over the event, play and pause, speed, jumps, and back to live. */
import { byId, setText } from "./dom.ts";
import { formatTime } from "./format.ts";

const JUMP_MS = 60_000;

export interface ReplayActions {
  open(): void;
  playing(on: boolean): void;
  seek(timeMs: number): void;
  speed(speed: number): void;
  close(): void;
}

export interface ReplayView {
  readonly fromMs: number;
  readonly toMs: number;
  readonly timeMs: number;
  readonly playing: boolean;
  /** Why nothing moves although it plays; empty if it does. */
  readonly note: string;
}

export class ReplayBar {
  private readonly bar = byId("replay", HTMLElement);
  private readonly button = byId("replay-open", HTMLButtonElement);
  private readonly controls = byId("replay-controls", HTMLElement);
  private readonly play = byId("replay-play", HTMLButtonElement);
  private readonly slider = byId("replay-slider", HTMLInputElement);
  private readonly time = byId("replay-time", HTMLElement);
  private readonly note = byId("replay-note", HTMLElement);
  private readonly speed = byId("replay-speed", HTMLSelectElement);
  private timeMs = 0;
  private playing = false;

  constructor(speeds: readonly number[], actions: ReplayActions) {
    this.speed.replaceChildren(...speeds.map((speed) => new Option(`${speed}×`, String(speed))));
    this.button.addEventListener("click", () => (this.bar.hidden ? actions.open() : actions.close()));
    this.play.addEventListener("click", () => actions.playing(!this.playing));
    this.slider.addEventListener("input", () => actions.seek(Number(this.slider.value) * 1_000));
    this.speed.addEventListener("change", () => actions.speed(Number(this.speed.value)));
    byId("replay-back", HTMLButtonElement).addEventListener("click", () => actions.seek(this.timeMs - JUMP_MS));
    byId("replay-forward", HTMLButtonElement).addEventListener("click", () => actions.seek(this.timeMs + JUMP_MS));
    byId("replay-live", HTMLButtonElement).addEventListener("click", () => actions.close());
  }

  /** Show the bar without its controls, and say why. */
  open(note: string): void {
    this.bar.hidden = false;
    this.controls.hidden = true;
    this.speed.selectedIndex = 0;
    this.button.setAttribute("aria-pressed", "true");
    setText(this.note, note);
  }

  show({ fromMs, toMs, timeMs, playing, note }: ReplayView): void {
    this.timeMs = timeMs;
    this.playing = playing;
    this.controls.hidden = false;
    this.play.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.play.dataset["playing"] = String(playing);
    const text = formatTime(timeMs, toMs);
    setText(this.time, text);
    setText(this.note, note);
    this.slider.min = String(Math.floor(fromMs / 1_000));
    this.slider.max = String(Math.ceil(toMs / 1_000));
    this.slider.value = String(Math.floor(timeMs / 1_000));
    this.slider.setAttribute("aria-valuetext", text);
  }

  close(): void {
    this.bar.hidden = true;
    this.button.setAttribute("aria-pressed", "false");
    if (this.bar.contains(document.activeElement)) this.button.focus();
  }
}
