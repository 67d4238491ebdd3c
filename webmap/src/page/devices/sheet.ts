/** The side with the list, which on a phone is a sheet that can be closed. */
import { byId } from "../dom.ts";

export class Sheet {
  private readonly button = byId("sheet", HTMLButtonElement);
  /** What lies over the map on a phone. */
  readonly side = byId("side", HTMLElement);

  constructor() {
    this.button.addEventListener("click", () => this.toggle());
  }

  private toggle(): void {
    const closed = this.side.classList.toggle("closed");
    this.button.setAttribute("aria-expanded", String(!closed));
    this.button.setAttribute("aria-label", closed ? "Show the list" : "Hide the list");
  }
}
