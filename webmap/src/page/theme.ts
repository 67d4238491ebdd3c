/** Dark or light: what the system prefers, until the user chooses; the choice is remembered. */
import { byId } from "./dom.ts";
import { remember, remembered } from "./storage.ts";

const KEY = "telemetry-map-theme";

type Theme = "dark" | "light";

export class ThemeSwitch {
  private readonly button = byId("theme", HTMLButtonElement);
  private readonly system = matchMedia("(prefers-color-scheme: light)");
  private chosen: Theme | undefined = rememberedTheme();

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
    remember(KEY, theme);
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

function rememberedTheme(): Theme | undefined {
  const value = remembered(KEY);
  return value === "dark" || value === "light" ? value : undefined;
}
