/** The list of devices: filtered and in order, with only the visible rows, and usable by mouse, touch or keyboard. */
import { byId, part, setText } from "../dom.ts";
import { showNumber } from "./entry.ts";
import { formatSpeed } from "../format.ts";
import { formatAge } from "../../devices/age.ts";
import type { DeviceStore } from "../../devices/store.ts";
import { isolate } from "../../devices/text.ts";
import { rowForKey, visibleRows } from "./rows.ts";
import { arranged, byText, changesAlways, type Order } from "./sorting.ts";

/** Rows that change their places more often could not be read. */
const REARRANGE_MS = 2_000;

/** What the list is asked for. */
export interface Wanted {
  readonly order: Order;
  readonly favourites: ReadonlySet<string>;
}

interface Row {
  readonly item: HTMLLIElement;
  readonly number: HTMLElement;
  readonly name: HTMLElement;
  readonly star: HTMLElement;
  readonly group: HTMLElement;
  readonly speed: HTMLElement;
  readonly age: HTMLElement;
}

export class DeviceList {
  private readonly list = byId("devices", HTMLUListElement);
  private readonly scroller = byId("scroller", HTMLElement);
  private readonly empty = byId("empty", HTMLElement);
  /** Rows by device. */
  private readonly rows = new Map<number, Row>();
  private order: number[] = [];
  /** Those that the filter shows, by number or name. */
  private byText: number[] = [];
  /** Of what the order was made, and when. */
  private made = "";
  private madeAt = 0;
  private selected: number | undefined;
  private active = -1;

  constructor(
    private readonly store: DeviceStore,
    private readonly choose: (device: number) => void,
    private readonly color: (speed: number) => string,
    private readonly nowMs: () => number,
    private readonly wanted: () => Wanted,
  ) {
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  /** How many devices are listed, and of how many. */
  get countText(): string {
    const [listed, all] = [this.order.length.toLocaleString(), this.store.count.toLocaleString()];
    return listed === all ? all : `${listed} of ${all}`;
  }

  focus(): void {
    this.list.focus();
  }

  /** Update the rows. Called twice a second, not for every position. */
  refresh(): void {
    const { order } = this.wanted();
    const { membership, entries, filter } = this.store;
    const of = [membership, entries.version, filter.version, order].join();
    if (of !== this.made) this.remake(of);
    // A row that is pressed stays where it is.
    else if (changesAlways(order) && performance.now() - this.madeAt >= REARRANGE_MS && !this.list.matches(":active")) this.arrange();
    this.draw();
  }

  select(device: number | undefined): void {
    this.selected = device;
    if (device !== undefined) this.activate(this.order.indexOf(device));
    else this.draw();
  }

  /** Begin anew: there are other devices, or they are called or asked for otherwise. */
  private remake(of: string): void {
    this.made = of;
    for (const row of this.rows.values()) row.item.remove();
    this.rows.clear();
    this.byText = byText(this.store, this.wanted().order);
    this.arrange();
    this.empty.hidden = this.order.length > 0;
    setText(this.empty, this.store.count > 0 ? "No device matches the filter." : "No devices.");
  }

  private arrange(): void {
    const activeDevice = this.order[this.active];
    const { order, favourites } = this.wanted();
    const nowMs = this.nowMs();
    this.madeAt = performance.now();
    this.order = arranged(this.store, this.byText, order, favourites, (device) => this.store.isOverdue(device, nowMs));
    this.active = activeDevice === undefined ? -1 : this.order.indexOf(activeDevice);
  }

  private draw(): void {
    const rowPx = this.rowPx();
    const { first, end } = visibleRows(this.order.length, rowPx, this.scroller.scrollTop, this.scroller.clientHeight);
    const visible = this.order.slice(first, end);
    const kept = new Set(visible);
    this.list.style.height = `${this.order.length * rowPx}px`;
    for (const [device, row] of this.rows) {
      if (kept.has(device)) continue;
      row.item.remove();
      this.rows.delete(device);
    }
    // The order of the elements is that of the rows, for those who do not see where they are.
    let next = this.list.firstElementChild;
    visible.forEach((device, order) => {
      const { item } = this.drawRow(first + order, device, rowPx);
      if (item === next) next = item.nextElementSibling;
      else this.list.insertBefore(item, next);
    });
    const active = this.rows.get(this.order[this.active] ?? -1);
    if (active === undefined) this.list.removeAttribute("aria-activedescendant");
    else this.list.setAttribute("aria-activedescendant", active.item.id);
  }

  private drawRow(at: number, device: number, rowPx: number): Row {
    const row = this.rows.get(device) ?? this.createRow(device);
    const { ts, speed } = this.store.position(device);
    const nowMs = this.nowMs();
    const stale = this.store.isOverdue(device, nowMs);
    row.item.style.top = `${at * rowPx}px`;
    row.item.setAttribute("aria-setsize", String(this.order.length));
    row.item.setAttribute("aria-posinset", String(at + 1));
    row.item.dataset["stale"] = String(stale);
    row.item.dataset["active"] = String(at === this.active);
    row.item.setAttribute("aria-selected", String(device === this.selected));
    row.item.style.setProperty("--dot", stale ? "" : this.color(speed));
    setText(row.speed, stale ? "" : formatSpeed(speed));
    setText(row.age, formatAge(nowMs - ts));
    return row;
  }

  private createRow(device: number): Row {
    const item = document.createElement("li");
    const dot = part(item, "dot");
    const who = part(item, "who");
    const number = part(who, "number");
    const names = part(who, "names");
    const row = {
      item,
      number,
      name: part(names, "name"),
      star: part(who, "star"),
      group: part(names, "class"),
      speed: part(item, "speed"),
      age: part(item, "age"),
    };
    dot.setAttribute("aria-hidden", "true");
    for (const text of [row.number, row.name, row.group]) text.dir = "auto";
    row.star.setAttribute("role", "img");
    row.star.setAttribute("aria-label", "favourite");
    row.star.textContent = "★";
    item.id = `row-${device}`;
    item.setAttribute("role", "option");
    this.name(row, this.store.ids[device] ?? "");
    this.rows.set(device, row);
    return row;
  }

  private name({ item, number, name, star, group }: Row, deviceId: string): void {
    const entry = this.store.entries.of(deviceId);
    item.dataset["deviceId"] = deviceId;
    name.textContent = this.store.entries.nameOf(deviceId);
    const known = [name.textContent, entry?.class ?? "", deviceId];
    name.title = known.filter((text, at) => text !== "" && known.indexOf(text) === at).map(isolate).join(" · ");
    showNumber(number, entry);
    star.hidden = !this.wanted().favourites.has(deviceId);
    group.textContent = entry?.class ?? "";
    group.hidden = group.textContent === "";
  }

  private click(event: MouseEvent): void {
    const item = event.target instanceof Element ? event.target.closest("li") : null;
    const found = [...this.rows].find(([, row]) => row.item === item);
    if (found !== undefined) this.choose(found[0]);
  }

  private key(event: KeyboardEvent): void {
    const rowPx = this.rowPx();
    const row = rowForKey(event.key, this.active, this.order.length, Math.floor(this.scroller.clientHeight / rowPx));
    if (row !== undefined) {
      this.activate(row);
    } else if (event.key === "Enter" || event.key === " ") {
      const device = this.order[this.active];
      if (device !== undefined) this.choose(device);
    } else {
      return;
    }
    event.preventDefault();
  }

  private activate(row: number): void {
    this.active = row;
    if (row >= 0) {
      const rowPx = this.rowPx();
      const top = row * rowPx;
      const { scrollTop, clientHeight } = this.scroller;
      if (top < scrollTop) this.scroller.scrollTop = top;
      else if (top + rowPx > scrollTop + clientHeight) this.scroller.scrollTop = top + rowPx - clientHeight;
    }
    this.draw();
  }

  private rowPx(): number {
    // As in list.css: rows are taller where fingers touch them.
    return matchMedia("(max-width: 540px)").matches ? 44 : 40;
  }
}
