/** The page: puts the parts together, and nothing else. */
import "./app.css";
import { fetchConfig, type Config } from "./config.ts";
import { byId, setText } from "./dom.ts";
import { EventPicker } from "./events.ts";
import { speedScale } from "./format.ts";
import type { FromWorker, ToWorker } from "./link.ts";
import { DeviceList } from "./list.ts";
import { LiveMap } from "./map.ts";
import { speedColor } from "./palette.ts";
import { Panel } from "./panel.ts";
import type { Position } from "./protocol.ts";
import { Backoff } from "./backoff.ts";
import type { FeedState } from "./state.ts";
import { StatusBar } from "./status.ts";
import { STALE_AFTER_MS, DeviceStore } from "./store.ts";
import { ThemeSwitch } from "./theme.ts";
import { loadWorld } from "./world.ts";

/** What outside checks and the browser's console may ask. */
export interface TelemetryMap {
  devices(): Position[];
  /** Counts since the page was opened: positions received, batches applied, pictures drawn. */
  counters(): { received: number; batches: number; pictures: number };
}

declare global {
  interface Window {
    telemetryMap: TelemetryMap;
  }
}

const LIST_REFRESH_MS = 500;
/** A picture per batch is enough for a crowd; gliding would draw it at the screen's full rate. */
const MAX_GLIDING = 2_000;
const CONFIG_RETRY = { firstMs: 1_000, maxMs: 30_000 };

class App {
  private readonly store = new DeviceStore();
  private readonly worker = new Worker(asset("feed.js"), { type: "module", name: "feed" });
  private readonly reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  private readonly theme = new ThemeSwitch((dark) => this.recolor(dark));
  private readonly status = new StatusBar(() => this.retry());
  private readonly events = new EventPicker((eventId) => this.open(eventId));
  private readonly panel = new Panel({ close: () => this.select(undefined), follow: (on) => this.follow(on) });
  private readonly list = new DeviceList(
    this.store,
    (device) => this.select(device, true),
    (speed) => speedColor(speed, this.scale, this.theme.dark),
    () => this.nowMs(),
  );
  private readonly configBackoff = new Backoff(CONFIG_RETRY);
  private configTimer: ReturnType<typeof setTimeout> | undefined;
  private config: Config | undefined;
  private map: LiveMap | undefined;
  private selected: number | undefined;
  private following = false;
  private fitted = false;
  private session = 0;
  private eventId: string | undefined;
  private scale = 20;
  private received = 0;
  private batches = 0;

  async start(): Promise<void> {
    window.telemetryMap = {
      devices: () => [...this.store.devices()].map((device) => this.store.position(device)),
      counters: () => ({ received: this.received, batches: this.batches, pictures: this.map?.layer.pictures ?? 0 }),
    };
    this.worker.onmessage = (event: MessageEvent<FromWorker>) => this.receive(event.data);
    this.listen();
    setInterval(() => this.tick(), LIST_REFRESH_MS);
    await Promise.all([this.configure(), this.createMap()]);
  }

  private listen(): void {
    addEventListener("online", () => this.status.state.name === "reconnecting" && this.retry());
    // Someone who signed in in another tab comes back to this one.
    addEventListener("focus", () => this.status.state.name === "signed-out" && this.retry());
    addEventListener("keydown", (event) => event.key === "Escape" && this.select(undefined));
    byId("fit", HTMLButtonElement).addEventListener("click", () => {
      this.follow(false);
      this.map?.fit();
    });
    const sheet = byId("sheet", HTMLButtonElement);
    sheet.addEventListener("click", () => {
      const closed = sheet.closest(".side")?.classList.toggle("closed") === true;
      sheet.setAttribute("aria-expanded", String(!closed));
      sheet.setAttribute("aria-label", closed ? "Show the list" : "Hide the list");
    });
  }

  private async configure(): Promise<void> {
    clearTimeout(this.configTimer);
    const answer = await fetchConfig(new URL("config.json", document.baseURI).href);
    if (answer.kind === "ok") {
      this.config = answer.config;
      this.configBackoff.reset();
      if (!this.events.offer(answer.config.events)) this.status.show({ name: "idle", text: "Which event?" });
    } else if (answer.kind === "signed-out") {
      this.status.show({ name: "signed-out", text: "You are signed out. Please sign in to see the map." });
    } else if (answer.kind === "missing") {
      this.status.show({ name: "error", text: "This server offers no live map." });
    } else {
      const reached = answer.kind === "unavailable";
      const delayMs = this.configBackoff.next(reached ? answer.retryAfterMs : 0);
      const text = reached ? "The server cannot list your events now." : "The server cannot be reached.";
      this.status.show({ name: "reconnecting", text, retryAt: Date.now() + delayMs });
      this.configTimer = setTimeout(() => void this.configure(), delayMs);
    }
  }

  private async createMap(): Promise<void> {
    const container = byId("map", HTMLElement);
    try {
      this.map = new LiveMap(this.store, await loadWorld(asset("world.json")), {
        container,
        workerUrl: asset("map-worker.js"),
        dark: this.theme.dark,
        reducedMotion: () => this.reducedMotion.matches,
        clock: () => ({ timeMs: performance.now(), nowMs: this.nowMs() }),
        onPick: (device) => this.select(device),
        onDrag: () => this.follow(false),
        covering: [byId("panel", HTMLElement), byId("sheet", HTMLButtonElement).closest(".side")],
      });
      this.map.select(this.selected);
      this.fitOnce();
    } catch (error) {
      // Without WebGL the list and the panel still work.
      console.error(error);
      setText(container, "This browser cannot draw the map; the list still works.");
      container.classList.add("failed");
    }
  }

  private open(eventId: string): void {
    if (this.config === undefined) return;
    this.eventId = eventId;
    this.forget();
    this.session += 1;
    const url = new URL(this.config.path, location.href);
    const probeUrls = [new URL("config.json", document.baseURI).href, url.href];
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.send({ type: "start", session: this.session, eventId, url: url.href, probeUrls });
  }

  private retry(): void {
    if (this.config === undefined) void this.configure();
    else if (this.status.state.name === "reconnecting") this.send({ type: "retry" });
    // An ended subscription took its devices along: begin afresh.
    else if (this.eventId !== undefined) this.open(this.eventId);
  }

  private send(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  private receive(message: FromWorker): void {
    if (message.session !== this.session) return;
    if (message.type === "state") return this.changeState(message.state);
    this.store.glides = !this.reducedMotion.matches && this.store.count <= MAX_GLIDING;
    this.store.apply(message.batch, performance.now());
    this.received = message.received;
    this.batches += 1;
    document.body.dataset["deviceCount"] = String(this.store.count);
    if (this.selected !== undefined && this.store.present[this.selected] !== 1) this.select(undefined);
    this.fitOnce();
    if (this.following && this.selected !== undefined) this.map?.follow(this.selected);
    this.map?.layer.invalidate();
  }

  private changeState(state: FeedState): void {
    // What one may no longer see does not stay on the screen.
    if (state.name === "forbidden" || state.name === "signed-out") this.forget();
    this.status.show(state);
  }

  private forget(): void {
    this.select(undefined);
    this.store.clear();
    this.fitted = false;
    this.scale = 20;
    document.body.dataset["deviceCount"] = "0";
    this.map?.layer.invalidate();
    this.tick();
  }

  private fitOnce(): void {
    if (this.fitted || this.map === undefined || this.store.count === 0) return;
    this.fitted = true;
    this.map.fit(false);
  }

  private select(device: number | undefined, show = false): void {
    this.selected = device;
    if (device === undefined) this.follow(false);
    this.list.select(device);
    this.map?.select(device);
    // First the panel, which may cover a part of the map.
    this.showPanel();
    if (device !== undefined && show) this.map?.show(device);
  }

  private follow(on: boolean): void {
    this.following = on && this.selected !== undefined;
    this.panel.setFollowing(this.following);
    if (this.following && this.selected !== undefined) this.map?.show(this.selected);
  }

  private recolor(dark: boolean): void {
    this.map?.setDark(dark);
    this.tick();
  }

  /** A few times a second: ages, rows, panel, colour scale. */
  private tick(): void {
    this.status.tick();
    this.rescale();
    this.list.refresh();
    this.showPanel();
    setText(byId("count", HTMLElement), this.store.count.toLocaleString());
    this.map?.layer.invalidate();
  }

  private rescale(): void {
    let fastest = 0;
    const oldest = this.nowMs() - STALE_AFTER_MS;
    for (const device of this.store.devices()) {
      const { speed, ts } = this.store.columns;
      if ((ts[device] ?? 0) >= oldest) fastest = Math.max(fastest, speed[device] ?? 0);
    }
    // It only grows: colours that change their meaning every second mean nothing.
    this.scale = Math.max(this.scale, speedScale(fastest));
    if (this.map !== undefined) this.map.layer.look.speedScale = this.scale;
    setText(byId("legend-max", HTMLElement), `${this.scale} km/h`);
  }

  private showPanel(): void {
    this.panel.show(this.selected === undefined ? undefined : this.store.position(this.selected), this.nowMs());
  }

  private nowMs(): number {
    return Date.now() + (this.config?.clockAheadMs ?? 0);
  }
}

/** The address of a file that was built beside this script. */
function asset(name: string): string {
  return new URL(name, import.meta.url).href;
}

void new App().start();
