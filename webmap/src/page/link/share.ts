/** Copying the link, and the full screen. */
import { byId, setText } from "../dom.ts";

/** As long as it takes to read it twice. */
const NOTE_MS = 4_000;

export class Share {
  private readonly note = byId("share-note", HTMLElement);
  private readonly dialog = byId("link-dialog", HTMLDialogElement);
  private readonly text = byId("link-text", HTMLInputElement);
  private readonly screen = byId("full-screen", HTMLButtonElement);
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly href: () => string) {
    byId("copy-link", HTMLButtonElement).addEventListener("click", () => void this.copy());
    byId("link-close", HTMLButtonElement).addEventListener("click", () => this.dialog.close());
    // Not on iPhones, nor in frames that are not allowed to.
    this.screen.hidden = !document.fullscreenEnabled;
    this.screen.addEventListener("click", () => void this.toggleScreen());
    document.addEventListener("fullscreenchange", () => this.showScreen());
  }

  private async copy(): Promise<void> {
    const href = this.href();
    try {
      // Over plain http there is no clipboard at all.
      await navigator.clipboard.writeText(href);
      this.tell("Link copied.");
    } catch {
      this.text.value = href;
      this.dialog.showModal();
      this.text.select();
    }
  }

  private async toggleScreen(): Promise<void> {
    try {
      await (document.fullscreenElement === null ? document.documentElement.requestFullscreen() : document.exitFullscreen());
    } catch {
      this.tell("This browser does not show the map on the full screen.");
    }
  }

  private showScreen(): void {
    this.screen.setAttribute("aria-pressed", String(document.fullscreenElement !== null));
  }

  private tell(text: string): void {
    clearTimeout(this.timer);
    setText(this.note, text);
    this.timer = setTimeout(() => setText(this.note, ""), NOTE_MS);
  }
}
