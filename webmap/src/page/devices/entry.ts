/** How an entry looks in the list and in the panel. */
import { inkOn } from "../../devices/entries.ts";
import type { Entry } from "../../feed/entries.ts";

/** Show the start number of an entry on its colour; the colour alone where it has no number of its own to show. */
export function showNumber(element: HTMLElement, entry: Entry | undefined): void {
  const color = entry?.color ?? "";
  element.textContent = element.title = entry === undefined || entry.name === "" ? "" : entry.number;
  element.hidden = element.textContent === "" && color === "";
  element.style.background = color;
  element.style.color = color === "" ? "" : inkOn(color);
}
