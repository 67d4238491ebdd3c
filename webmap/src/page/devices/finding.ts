/** What the devices are asked for: a text, favourites alone, and an order. */
import type { Filter } from "../../devices/filter.ts";
import { byId } from "../dom.ts";
import { remember, remembered } from "../storage.ts";
import { ORDERS, isOrder, type Order } from "./sorting.ts";

const KEY = "telemetry-map-order";

export interface FindingListener {
  /** Other devices are asked for, or another order. */
  changed(): void;
  /** On to the list, by the keyboard. */
  enterList(): void;
}

export class Finding {
  private readonly input = byId("filter", HTMLInputElement);
  private readonly select = byId("order", HTMLSelectElement);
  private readonly button = byId("favourites", HTMLButtonElement);
  private favouritesAlone = false;
  private current: Order;

  constructor(
    private readonly filter: Filter,
    private readonly favourites: () => ReadonlySet<string>,
    private readonly listener: FindingListener,
  ) {
    this.select.replaceChildren(...Object.entries(ORDERS).map(([order, name]) => new Option(name, order)));
    const known = remembered(KEY);
    this.current = isOrder(known) ? known : "number";
    this.select.value = this.current;
    this.input.addEventListener("input", () => this.ask());
    this.input.addEventListener("keydown", (event) => event.key === "ArrowDown" && listener.enterList());
    this.select.addEventListener("change", () => this.choose(this.select.value));
    this.button.addEventListener("click", () => {
      this.favouritesAlone = !this.favouritesAlone;
      this.ask();
    });
  }

  get text(): string {
    return this.input.value.trim();
  }

  get order(): Order {
    return this.current;
  }

  /** Ask for what a link does; without an order it stays as it is. */
  restore(text: string, order: string | undefined): void {
    this.input.value = text;
    if (isOrder(order)) this.current = this.select.value = order;
    this.favouritesAlone = false;
    this.ask();
  }

  /** Ask again, since other devices are favourites. */
  ask(): void {
    const favourites = this.favourites();
    this.favouritesAlone &&= favourites.size > 0;
    this.button.hidden = favourites.size === 0;
    this.button.setAttribute("aria-pressed", String(this.favouritesAlone));
    this.filter.ask(this.text, this.favouritesAlone ? favourites : undefined);
    this.listener.changed();
  }

  private choose(order: string): void {
    if (!isOrder(order)) return;
    this.current = order;
    remember(KEY, order);
    this.listener.changed();
  }
}
