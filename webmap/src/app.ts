/** The page's entry: puts the parts together and passes on what each of them reports. */
import "./app.css";
import { latitude, longitude } from "./devices/mercator.ts";
import type { Course } from "./course/course.ts";
import { CourseLoader } from "./course/loader.ts";
import { DeviceStore } from "./devices/store.ts";
import { FeedClient } from "./feed/client.ts";
import type { Batch } from "./feed/conflator.ts";
import type { EntriesByDevice } from "./feed/entries.ts";
import { probe } from "./feed/probe.ts";
import type { Position } from "./feed/protocol.ts";
import { SessionWatch } from "./feed/session.ts";
import type { FeedState } from "./feed/state.ts";
import { Archive } from "./history/archive.ts";
import { reachBack } from "./history/reach.ts";
import { loadWorld } from "./map/base/world.ts";
import type { LiveMap } from "./map/map.ts";
import { SpeedScale, speedColor } from "./map/speed.ts";
import { ServerClock } from "./page/clock.ts";
import { fetchConfig, type Config } from "./page/config.ts";
import { ConfigLoader } from "./page/configLoader.ts";
import { byId, setText } from "./page/dom.ts";
import { EventPicker } from "./page/events.ts";
import { DeviceList } from "./page/devices/list.ts";
import { Panel } from "./page/devices/panel.ts";
import { Sheet } from "./page/sheet.ts";
import { StatusBar } from "./page/status.ts";
import { ThemeSwitch } from "./page/theme.ts";
import { Replaying } from "./replaying.ts";

/** What outside checks and the browser's console may ask. */
export interface TelemetryMap {
  devices(): Position[];
  /** The server's time as the page has it, or that of a replay, epoch milliseconds. */
  now(): number;
  /** Where the trail of a device leads, oldest point first. */
  trail(deviceId: string): { lat: number; lon: number }[];
  /** Texts beside the course that are shown. */
  course(): string[];
  /** Counts since the page was opened: positions received, batches applied, pictures drawn. */
  counters(): { received: number; batches: number; pictures: number };
}

declare global {
  interface Window {
    telemetryMap: TelemetryMap;
  }
}

const TICK_MS = 500;
const DRAWING: FeedState = { name: "connecting", text: "Drawing the map…" };
const NO_MAP: FeedState = { name: "no-map", text: "This browser cannot draw the map." };
/** A browser that gives back its graphics does it sooner. */
const LOST_AFTER_MS = 5_000;
const CONFIG_URL = new URL("config.json", document.baseURI).href;
const HISTORY_URL = new URL("live/history", document.baseURI).href;
const COURSE_URL = new URL("live/course", document.baseURI).href;

class App {
  private readonly store = new DeviceStore();
  private readonly scale = new SpeedScale();
  private readonly reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  private readonly feed = new FeedClient(new Worker(asset("feed.js"), { type: "module", name: "feed" }), {
    state: (state) => this.changeState(state),
    entries: (entries, replaces) => this.name(entries, replaces),
    batch: (batch, received) => this.apply(batch, received),
  });
  private readonly clock = new ServerClock();
  private readonly theme = new ThemeSwitch((dark) => this.recolor(dark));
  private readonly status = new StatusBar(() => this.retry());
  private readonly events = new EventPicker((eventId) => this.open(eventId));
  private readonly loader = new ConfigLoader(CONFIG_URL, {
    state: (state) => this.tell(state),
    config: (config) => this.configure(config),
  });
  private readonly session = new SessionWatch(isSignedOut, () => this.retry());
  private readonly sheet = new Sheet();
  private readonly panel = new Panel({ close: () => this.select(undefined), follow: (on) => this.follow(on) });
  private readonly list = new DeviceList(
    this.store,
    (device) => this.select(device, true),
    (speed) => speedColor(speed, this.scale.end, this.theme.dark),
    () => this.nowMs(),
  );
  private readonly courses = new CourseLoader(COURSE_URL, (course) => this.setCourse(course));
  private course: Course | undefined;
  private config: Config | undefined;
  private map: LiveMap | undefined;
  /** What is to be said as long as devices cannot be seen. */
  private unseen: FeedState | undefined = DRAWING;
  private losing: ReturnType<typeof setTimeout> | undefined;
  private feedState: FeedState | undefined;
  private eventId: string | undefined;
  private selected: number | undefined;
  private selectedId: string | undefined;
  private following = false;
  private fitted = false;
  private readonly archive = new Archive(HISTORY_URL);
  private readonly replaying = new Replaying(this.store, this.archive, {
    eventId: () => this.eventId,
    nowMs: () => this.serverMs(),
    renumbered: () => this.renumber(),
    changed: () => this.show(),
    ended: () => this.reachBack(),
  });
  /** Ends what is being read of the past when its event is left; undefined until its trails reach back. */
  private reaching: AbortController | undefined;
  private received = 0;
  private batches = 0;

  async start(): Promise<void> {
    window.telemetryMap = {
      devices: () => [...this.store.devices()].map((device) => this.store.position(device)),
      now: () => this.nowMs(),
      trail: (deviceId) => this.trail(deviceId),
      course: () => this.map?.courseTexts() ?? [],
      counters: () => ({ received: this.received, batches: this.batches, pictures: this.map?.layer.pictures ?? 0 }),
    };
    this.listen();
    setInterval(() => this.tick(), TICK_MS);
    await Promise.all([this.loader.load(), this.createMap()]);
  }

  private listen(): void {
    this.reducedMotion.addEventListener("change", () => this.show());
    addEventListener("online", () => this.status.state.name === "reconnecting" && this.retry());
    // Someone who signed in in another tab returns to this one.
    addEventListener("focus", () => void this.session.ask());
    addEventListener("keydown", (event) => event.key === "Escape" && this.select(undefined));
    byId("fit", HTMLButtonElement).addEventListener("click", () => {
      this.follow(false);
      this.map?.fit();
    });
  }

  private async createMap(): Promise<void> {
    const container = byId("map", HTMLElement);
    try {
      // After the shell: the map is most of what there is to load.
      const [{ LiveMap }, world] = await Promise.all([import("./map/map.ts"), loadWorld(asset("world.json"))]);
      this.map = new LiveMap(this.store, world, {
        container,
        workerUrl: asset("map-worker.js"),
        dark: this.theme.dark,
        reducedMotion: () => this.reducedMotion.matches,
        clock: () => ({ timeMs: performance.now(), nowMs: this.nowMs() }),
        onDrawn: () => this.draw(),
        onLost: () => this.draw(DRAWING, NO_MAP),
        onPick: (device) => this.select(device),
        onDrag: () => this.follow(false),
        covering: [byId("panel", HTMLElement), this.sheet.side],
      });
      this.showScale();
      this.map.select(this.selected);
      this.map.setCourse(this.course);
      this.fitOnce();
    } catch (error) {
      // Without WebGL the list and the panel still work.
      console.error(error);
      this.draw(NO_MAP);
    }
  }

  /** From now on devices can be seen on the map; or else this is to be said, and that if it does not change soon. */
  private draw(unseen?: FeedState, later?: FeedState): void {
    clearTimeout(this.losing);
    this.unseen = unseen;
    if (later !== undefined) this.losing = setTimeout(() => this.draw(later), LOST_AFTER_MS);
    if (this.feedState !== undefined) this.showState(this.feedState);
  }

  private showState(state: FeedState): void {
    const shows = state.name === "live" || state.name === "stale";
    // Nothing is live before it can be seen; a page in the background draws nothing.
    const unseen = this.unseen === DRAWING && document.hidden ? undefined : this.unseen;
    this.tell((shows ? unseen : undefined) ?? state);
  }

  private tell(state: FeedState): void {
    this.status.show(state);
    this.session.watch(state.name === "signed-out");
  }

  // --- the connection ---

  private configure(config: Config): void {
    this.config = config;
    this.clock.set(config.nowMs);
    if (!this.events.offer(config.events)) this.tell({ name: "idle", text: "Which event?" });
  }

  /** Ask for the time again. */
  private async setClock(): Promise<void> {
    const answer = await fetchConfig(CONFIG_URL);
    if (answer.kind === "ok") this.clock.set(answer.config.nowMs);
  }

  private open(eventId: string): void {
    if (this.config === undefined) return;
    this.eventId = eventId;
    this.forget();
    this.feed.start(eventId, this.config.path, CONFIG_URL);
  }

  private retry(): void {
    if (this.status.state.name === "no-map") location.reload();
    else if (this.config === undefined) void this.loader.load();
    else if (this.status.state.name === "reconnecting") this.feed.retry();
    // The subscription has ended, and its devices may be gone: subscribe anew.
    else if (this.eventId !== undefined) this.open(this.eventId);
  }

  private changeState(state: FeedState): void {
    // What the user may no longer see must not stay on the screen.
    if (state.name === "forbidden" || state.name === "signed-out") this.forget();
    this.feedState = state;
    this.showState(state);
    if (state.name === "live" && this.eventId !== undefined) void this.courses.load(this.eventId);
  }

  private setCourse(course: Course | undefined): void {
    this.course = course;
    this.map?.setCourse(course);
  }

  private name(entries: EntriesByDevice, replaces: boolean): void {
    this.store.entries.add(entries, replaces);
    this.map?.layer.invalidate();
  }

  private apply(batch: Batch, received: number): void {
    this.received = received;
    this.batches += 1;
    if (this.replaying.takes(batch)) return;
    this.store.apply(batch, performance.now());
    if (batch.replaces && this.reaching === undefined) this.reachBack();
    this.show();
  }

  /** Show what the store has now. */
  private show(): void {
    this.store.glides = !this.reducedMotion.matches;
    document.body.dataset["deviceCount"] = String(this.store.count);
    if (this.selected !== undefined && this.store.present[this.selected] !== 1) this.select(undefined);
    this.fitOnce();
    this.keepUp();
    this.map?.layer.invalidate();
  }

  private keepUp(): void {
    if (this.following && this.selected !== undefined) this.map?.follow(this.selected);
  }

  /** Let trails begin before the page was opened. */
  private reachBack(): void {
    if (this.eventId === undefined) return;
    this.reaching?.abort();
    this.reaching = new AbortController();
    const { archive, eventId, store, reaching } = this;
    void reachBack(archive, eventId, store, this.serverMs(), reaching.signal).then(() => this.map?.layer.invalidate());
  }

  private trail(deviceId: string): { lat: number; lon: number }[] {
    const device = this.store.indexOf(deviceId);
    const points = device === undefined ? [] : this.store.trails.pointsOf(device);
    return points.map(({ x, y }) => ({ lat: latitude(y), lon: longitude(x) }));
  }

  private forget(): void {
    this.replaying.stop();
    this.reaching?.abort();
    this.reaching = undefined;
    this.select(undefined);
    this.store.clear();
    this.courses.forget();
    this.setCourse(undefined);
    this.fitted = false;
    this.scale.reset();
    this.showScale();
    document.body.dataset["deviceCount"] = "0";
    this.tick();
  }

  // --- the selection ---

  private select(device: number | undefined, show = false): void {
    this.selected = device;
    this.selectedId = device === undefined ? undefined : this.store.ids[device];
    if (device === undefined) this.follow(false);
    this.list.select(device);
    this.map?.select(device);
    // The panel first: it may cover a part of the map.
    this.showPanel();
    if (device !== undefined && show) this.map?.show(device);
  }

  /** Devices have other indexes: find the selected one again. */
  private renumber(): void {
    const { following } = this;
    const device = this.selectedId === undefined ? undefined : this.store.indexOf(this.selectedId);
    this.select(device);
    if (following && device !== undefined) this.follow(true);
    this.show();
    this.tick();
  }

  private follow(on: boolean): void {
    this.following = on && this.selected !== undefined;
    this.panel.setFollowing(this.following);
    if (this.following && this.selected !== undefined) this.map?.show(this.selected);
  }

  private fitOnce(): void {
    if (this.fitted || this.map === undefined || this.store.count === 0) return;
    this.fitted = true;
    this.map.fit(false);
  }

  // --- what is drawn ---

  private recolor(dark: boolean): void {
    this.map?.setDark(dark);
    this.tick();
  }

  /** Twice a second: ages, rows, panel, colour scale. Of the map only what changes by itself: nothing may move for hours. */
  private tick(): void {
    this.status.tick();
    if (this.feedState?.name === "live" && this.clock.mustAsk()) void this.setClock();
    if (this.scale.grow(this.store, this.nowMs())) this.showScale();
    this.list.refresh();
    this.showPanel();
    setText(byId("count", HTMLElement), this.store.count.toLocaleString());
    this.keepUp();
    this.map?.tick();
  }

  private showScale(): void {
    setText(byId("legend-max", HTMLElement), `${this.scale.end} km/h`);
    if (this.map === undefined) return;
    this.map.layer.look.speedScale = this.scale.end;
    this.map.layer.invalidate();
  }

  private showPanel(): void {
    const position = this.selected === undefined ? undefined : this.store.position(this.selected);
    const overdue = this.selected !== undefined && this.store.isOverdue(this.selected, this.nowMs());
    this.panel.show(position, this.store.entries, this.nowMs(), overdue);
  }

  /** The time that is shown. */
  private nowMs(): number {
    return this.replaying.timeMs ?? this.serverMs();
  }

  private serverMs(): number {
    return this.clock.nowMs;
  }
}

async function isSignedOut(): Promise<boolean> {
  const { kind } = await probe([CONFIG_URL]);
  return kind === "signed-out" || kind === "full" || kind === "unreachable";
}

/** The address of a file that was built beside this script. */
function asset(name: keyof typeof ASSETS): string {
  return new URL(ASSETS[name], import.meta.url).href;
}

void new App().start();
