/** Dark or light: what the system prefers, until the user chooses; the choice is remembered. */
import { byId } from "./dom.ts";

const KEY = "telemetry-map-theme";

type Theme = "dark" | "light";

export class ThemeSwitch {
  private readonly button = byId("theme", HTMLButtonElement);
  private readonly system = matchMedia("(prefers-color-scheme: light)");
  private chosen: Theme | undefined = remembered();

  constructor(private readonly changed: (dark: boolean) => void) {
    this.button.addEventListener("click", () => this.choose(this.dark ? "light" : "dark"));
    this.system.addEventListener("change", () => this.apply());
    this.show();
  }

  get dark(): boolean {
    return (this.chosen ?? (this.system.matches ? "light" : "dark")) === "dark";
  }

  private choose(theme: Theme): void {
    this.chosen = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Storage may be forbidden or full: the choice then lasts until the page is closed.
    }
    this.apply();
  }

  private apply(): void {
    this.show();
    this.changed(this.dark);
  }

  private show(): void {
    document.documentElement.dataset["theme"] = this.dark ? "dark" : "light";
    this.button.setAttribute("aria-label", `Switch to ${this.dark ? "light" : "dark"} colours`);
  }
}

function remembered(): Theme | undefined {
  try {
    const value = localStorage.getItem(KEY);
    return value === "dark" || value === "light" ? value : undefined;
  } catch {
    // A browser that blocks storage throws here.
    return undefined;
  }
}
