/** The list of devices: filtered, with only the visible rows, and usable by mouse, touch or keyboard. */
import { byId, part, setText } from "../dom.ts";
import { showNumber } from "./entry.ts";
import { formatSpeed } from "../format.ts";
import { formatAge } from "../../devices/age.ts";
import type { DeviceStore } from "../../devices/store.ts";
import { rowForKey, visibleRows } from "./rows.ts";

const collator = new Intl.Collator(undefined, { numeric: true });

interface Row {
  readonly item: HTMLLIElement;
  readonly number: HTMLElement;
  readonly name: HTMLElement;
  readonly group: HTMLElement;
  readonly speed: HTMLElement;
  readonly age: HTMLElement;
}

export class DeviceList {
  private readonly list = byId("devices", HTMLUListElement);
  private readonly scroller = byId("scroller", HTMLElement);
  private readonly filter = byId("filter", HTMLInputElement);
  private readonly empty = byId("empty", HTMLElement);
  private readonly rows = new Map<number, Row>();
  private order: number[] = [];
  private membership = -1;
  private naming = -1;
  private selected: number | undefined;
  private active = -1;

  constructor(
    private readonly store: DeviceStore,
    private readonly choose: (device: number) => void,
    private readonly color: (speed: number) => string,
    private readonly nowMs: () => number,
  ) {
    this.filter.addEventListener("input", () => this.rebuild());
    this.filter.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.list.focus();
    });
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  /** Update the rows. Called twice a second, not for every position. */
  refresh(): void {
    if (this.membership !== this.store.membership || this.naming !== this.store.entries.version) this.rebuild();
    else this.draw();
  }

  select(device: number | undefined): void {
    this.selected = device;
    if (device !== undefined) this.activate(this.order.indexOf(device));
    else this.draw();
  }

  private rebuild(): void {
    const activeDevice = this.order[this.active];
    const wanted = this.filter.value.trim().toLowerCase();
    const { entries } = this.store;
    const id = (device: number): string => this.store.ids[device] ?? "";
    this.membership = this.store.membership;
    this.naming = entries.version;
    this.order = [...this.store.devices()]
      .filter((device) => entries.searchable(id(device)).includes(wanted))
      .map((device): [number, string] => [device, entries.orderOf(id(device))])
      .sort(([, one], [, other]) => collator.compare(one, other))
      .map(([device]) => device);
    this.active = activeDevice === undefined ? -1 : this.order.indexOf(activeDevice);
    for (const row of this.rows.values()) row.item.remove();
    this.rows.clear();
    this.empty.hidden = this.order.length > 0;
    setText(this.empty, this.store.count > 0 ? "No device matches the filter." : "No devices.");
    this.draw();
  }

  private draw(): void {
    const rowPx = this.rowPx();
    const { first, end } = visibleRows(this.order.length, rowPx, this.scroller.scrollTop, this.scroller.clientHeight);
    this.list.style.height = `${this.order.length * rowPx}px`;
    for (const [at, row] of this.rows) {
      if (at >= first && at < end) continue;
      row.item.remove();
      this.rows.delete(at);
    }
    for (let at = first; at < end; at++) this.drawRow(at, rowPx);
    const active = this.rows.get(this.active);
    if (active === undefined) this.list.removeAttribute("aria-activedescendant");
    else this.list.setAttribute("aria-activedescendant", active.item.id);
  }

  private drawRow(at: number, rowPx: number): void {
    const device = this.order[at];
    if (device === undefined) return;
    const row = this.rows.get(at) ?? this.createRow(at, device, rowPx);
    const { ts, speed } = this.store.position(device);
    const nowMs = this.nowMs();
    const stale = this.store.isOverdue(device, nowMs);
    row.item.dataset["stale"] = String(stale);
    row.item.dataset["active"] = String(at === this.active);
    row.item.setAttribute("aria-selected", String(device === this.selected));
    row.item.style.setProperty("--dot", stale ? "" : this.color(speed));
    setText(row.speed, stale ? "" : formatSpeed(speed));
    setText(row.age, formatAge(nowMs - ts));
  }

  private createRow(at: number, device: number, rowPx: number): Row {
    const item = document.createElement("li");
    const dot = part(item, "dot");
    const who = part(item, "who");
    const number = part(who, "number");
    const names = part(who, "names");
    const row = {
      item,
      number,
      name: part(names, "name"),
      group: part(names, "class"),
      speed: part(item, "speed"),
      age: part(item, "age"),
    };
    dot.setAttribute("aria-hidden", "true");
    item.id = `row-${device}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-setsize", String(this.order.length));
    item.setAttribute("aria-posinset", String(at + 1));
    this.name(row, this.store.ids[device] ?? "");
    item.style.top = `${at * rowPx}px`;
    this.list.append(item);
    this.rows.set(at, row);
    return row;
  }

  private name({ item, number, name, group }: Row, deviceId: string): void {
    const entry = this.store.entries.of(deviceId);
    item.dataset["deviceId"] = deviceId;
    name.textContent = this.store.entries.nameOf(deviceId);
    name.title = [name.textContent, entry?.class, deviceId].filter((text, at, all) => text && all.indexOf(text) === at).join(" · ");
    showNumber(number, entry);
    group.textContent = entry?.class ?? "";
    group.hidden = group.textContent === "";
  }

  private click(event: MouseEvent): void {
    const item = event.target instanceof Element ? event.target.closest("li") : null;
    const found = [...this.rows].find(([, row]) => row.item === item);
    const device = found === undefined ? undefined : this.order[found[0]];
    if (device !== undefined) this.choose(device);
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
    return matchMedia("(max-width: 760px)").matches ? 44 : 40;
  }
}
