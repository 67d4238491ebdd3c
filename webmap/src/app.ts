/** The page's entry: puts the parts together and passes on what each of them reports. */
import "./app.css";
import { letInspect } from "./app/inspection.ts";
import { Linking } from "./app/linking.ts";
import { Replaying } from "./app/replaying.ts";
import { onReturn } from "./app/returning.ts";
import { Selection } from "./app/selection.ts";
import { Server } from "./app/server.ts";
import type { Course } from "./course/course.ts";
import { CourseLoader } from "./course/loader.ts";
import { DeviceStore } from "./devices/store.ts";
import { FeedClient } from "./feed/client.ts";
import type { Batch } from "./feed/conflator.ts";
import type { EntriesByDevice } from "./feed/entries.ts";
import type { FeedState } from "./feed/state.ts";
import { Archive } from "./history/archive.ts";
import { reachBack } from "./history/reach.ts";
import type { LiveMap } from "./map/map.ts";
import { SpeedScale, speedColor } from "./map/speed.ts";
import type { Config } from "./page/config.ts";
import { byId, setText } from "./page/dom.ts";
import { Favourites } from "./page/devices/favourites.ts";
import { Finding } from "./page/devices/finding.ts";
import { DeviceList } from "./page/devices/list.ts";
import { Panel } from "./page/devices/panel.ts";
import { Sheet } from "./page/devices/sheet.ts";
import type { View } from "./page/link/link.ts";
import { StatusBar } from "./page/status.ts";
import { ThemeSwitch } from "./page/theme.ts";

const TICK_MS = 500;
const DRAWING: FeedState = { name: "connecting", text: "Drawing the map…" };
const NO_MAP: FeedState = { name: "no-map", text: "This browser cannot draw the map." };
/** A browser that gives back its graphics does it sooner. */
const LOST_AFTER_MS = 5_000;
const CONFIG_URL = new URL("config.json", document.baseURI).href;
const HISTORY_URL = new URL("live/history", document.baseURI).href;
const BASEMAP_URL = new URL("live/basemap", document.baseURI).href;
const WORLD_URL = asset("world.json");
const COURSE_URL = new URL("live/course", document.baseURI).href;

class App {
  private readonly store = new DeviceStore();
  private readonly scale = new SpeedScale();
  private readonly reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  private readonly feed = new FeedClient(new Worker(asset("feed.js"), { type: "module", name: "feed" }), {
    state: (state) => this.changeState(state),
    entries: (entries, replaces) => this.name(entries, replaces),
    batch: (batch, received) => this.apply(batch, received),
    renewed: () => this.server.mayHaveChanged(),
  });
  private readonly theme = new ThemeSwitch((dark) => this.recolor(dark));
  private readonly status = new StatusBar(() => this.retry());
  private readonly server: Server = new Server(CONFIG_URL, {
    state: (state) => this.changeState(state),
    known: (config) => this.configure(config),
    changed: (config, before) => this.reconfigure(config, before),
    signedOut: () => (this.eventId === undefined ? void this.server.load() : this.feed.renew()),
  });
  private readonly sheet = new Sheet();
  private readonly selection = new Selection(this.store, {
    mark: (device) => this.mark(device),
    show: (device) => this.map?.show(device),
    following: (on) => this.panel.setFollowing(on),
  });
  private readonly panel = new Panel({ close: () => this.select(undefined), follow: (on) => this.selection.follow(on) });
  private readonly favourites = new Favourites(() => this.finding.ask());
  private readonly finding: Finding = new Finding(this.store.filter, () => this.favourites.ids, {
    changed: () => this.find(),
    enterList: () => this.list.focus(),
  });
  private readonly list = new DeviceList(
    this.store,
    (device) => this.select(device, true),
    (speed) => speedColor(speed, this.scale.end, this.theme.dark),
    () => this.nowMs(),
    () => ({ order: this.finding.order, favourites: this.favourites.ids }),
  );
  private readonly courses = new CourseLoader(COURSE_URL, (course) => this.setCourse(course));
  private course: Course | undefined;
  private map: LiveMap | undefined;
  /** What is to be said as long as devices cannot be seen. */
  private unseen: FeedState | undefined = DRAWING;
  private losing: ReturnType<typeof setTimeout> | undefined;
  private feedState: FeedState | undefined;
  private eventId: string | undefined;
  private fitted = false;
  private readonly archive = new Archive(HISTORY_URL);
  private readonly replaying = new Replaying(this.store, this.archive, {
    eventId: () => this.eventId,
    nowMs: () => this.server.nowMs,
    renumbered: () => this.renumber(),
    changed: () => this.show(),
    ended: () => this.reachBack(),
  });
  private readonly linking: Linking = new Linking({
    finding: this.finding,
    selection: this.selection,
    replaying: this.replaying,
    map: () => this.map,
    open: (eventId) => this.open(eventId),
    look: (view) => this.look(view),
  });
  /** Ends what is being read of the past when its event is left; undefined until its trails reach back. */
  private reaching: AbortController | undefined;
  private received = 0;
  private batches = 0;

  async start(): Promise<void> {
    letInspect(this.store, {
      now: () => this.nowMs(),
      course: () => this.map?.courseTexts ?? [],
      base: () => this.map?.tileFeatures() ?? [],
      counters: () => ({ received: this.received, batches: this.batches, pictures: this.map?.layer.pictures ?? 0 }),
    });
    this.listen();
    setInterval(() => this.tick(), TICK_MS);
    await Promise.all([this.server.load(), this.createMap()]);
  }

  private listen(): void {
    this.reducedMotion.addEventListener("change", () => this.show());
    addEventListener("online", () => {
      if (this.status.state.name === "reconnecting") this.retry();
      this.map?.mendTiles();
    });
    // Someone who signed in in another tab returns to this one.
    onReturn(() => (this.status.state.name === "forbidden" ? this.retry() : this.server.mayHaveChanged()));
    // In a dialog the key closes that.
    addEventListener("keydown", (event) => event.key === "Escape" && document.querySelector("dialog[open]") === null && this.select(undefined));
    byId("fit", HTMLButtonElement).addEventListener("click", () => {
      this.selection.follow(false);
      this.map?.fit();
    });
  }

  private async createMap(): Promise<void> {
    const container = byId("map", HTMLElement);
    try {
      // After the shell: the map is most of what there is to load.
      const { LiveMap } = await import("./map/map.ts");
      this.map = new LiveMap(this.store, {
        container,
        workerUrl: asset("map-worker.js"),
        dark: this.theme.dark,
        reducedMotion: () => this.reducedMotion.matches,
        clock: () => ({ timeMs: performance.now(), nowMs: this.nowMs() }),
        onDrawn: () => this.draw(),
        onLost: () => this.draw(DRAWING, NO_MAP),
        onPick: (device) => this.select(device),
        onDrag: () => this.selection.follow(false),
        covering: [byId("panel", HTMLElement), this.sheet.side],
        controls: [byId("legend", HTMLElement), byId("tools", HTMLElement), byId("whole-map", HTMLElement)],
      });
      this.showScale();
      this.map.select(this.selection.device);
      this.map.setCourse(this.course);
      this.linking.mapped();
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
    this.drawBase();
    if (later !== undefined) this.losing = setTimeout(() => this.draw(later), LOST_AFTER_MS);
    if (this.feedState !== undefined) this.showState(this.feedState);
  }

  /** Draw what the race is in, once the race itself can be seen. */
  private drawBase(): void {
    if (this.unseen !== undefined) return;
    const version = this.server.config?.basemap;
    if (version !== undefined) void this.map?.setTiles(`${BASEMAP_URL}/${version}.pmtiles`);
    void this.map?.setOutlines(WORLD_URL);
  }

  private showState(state: FeedState): void {
    const shows = state.name === "live" || state.name === "stale";
    // Nothing is live before it can be seen; a page in the background draws nothing.
    const unseen = this.unseen === DRAWING && document.hidden ? undefined : this.unseen;
    this.tell((shows ? unseen : undefined) ?? state);
  }

  private tell(state: FeedState): void {
    this.status.show(state);
    this.server.watchSession(state.name === "signed-out");
  }

  // --- the connection ---

  private configure({ events }: Config): void {
    this.drawBase();
    if (!this.linking.offer(events)) this.changeState({ name: "idle", text: "Which event?" });
  }

  private reconfigure(config: Config, before: Config): void {
    if (this.eventId === undefined) return this.configure(config);
    this.linking.list(config.events);
    if (config.viewer === before.viewer) return;
    // What somebody could see must not stay for somebody else. What everybody can may: there is more now.
    if (before.viewer !== undefined) return this.open(this.eventId);
    this.courses.forget();
    this.feed.renew();
  }

  private open(eventId: string): void {
    const { config } = this.server;
    if (config === undefined) return;
    const { link } = this.linking;
    this.eventId = eventId;
    this.forget();
    this.favourites.open(eventId);
    this.linking.restore(link);
    this.feed.start(eventId, config.path, CONFIG_URL);
  }

  private retry(): void {
    if (this.status.state.name === "no-map") location.reload();
    // Rights have changed, or who it is: so have the events to choose from.
    else if (this.server.config === undefined || this.status.state.name === "forbidden") void this.server.load();
    else if (this.status.state.name === "reconnecting") this.feed.retry();
    // The subscription has ended, and its devices may be gone: subscribe anew.
    else if (this.eventId !== undefined) this.open(this.eventId);
  }

  private changeState(state: FeedState): void {
    // What the user may no longer see must not stay on the screen.
    if (state.name === "forbidden" || state.name === "signed-out") {
      this.linking.hide();
      this.forget();
    }
    if (state.name === "signed-out") {
      this.server.forget();
      this.linking.forget();
    }
    this.feedState = state;
    this.showState(state);
    if (state.name !== "live" || this.eventId === undefined) return;
    this.drawBase();
    this.map?.mendTiles();
    void this.courses.load(this.eventId);
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
    this.selection.update();
    this.fitOnce();
    this.keepUp();
    this.map?.layer.invalidate();
  }

  private keepUp(): void {
    if (this.selection.following && this.selection.device !== undefined) this.map?.follow(this.selection.device);
  }

  /** Let trails begin before the page was opened. */
  private reachBack(): void {
    if (this.eventId === undefined) return;
    this.reaching?.abort();
    this.reaching = new AbortController();
    const { archive, eventId, store, reaching } = this;
    void reachBack(archive, eventId, store, this.server.nowMs, reaching.signal).then(() => this.map?.layer.invalidate());
  }

  private forget(): void {
    this.replaying.leave();
    this.reaching?.abort();
    this.reaching = undefined;
    this.store.clear();
    this.selection.update();
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
    this.selection.select(device === undefined ? undefined : this.store.ids[device], show);
  }

  private mark(device: number | undefined): void {
    this.list.select(device);
    this.map?.select(device);
    // The panel, before the device is brought into view: it may cover a part of the map.
    this.showPanel();
  }

  /** Devices have other indexes: find the selected one again. */
  private renumber(): void {
    this.selection.update();
    this.show();
    this.tick();
  }

  /** Bring this into view, or everything as soon as there is something, and a map to show it on. */
  private look(view: View | undefined): void {
    this.fitted = view !== undefined;
    if (this.map !== undefined) this.map.camera = view;
    this.fitOnce();
  }

  private fitOnce(): void {
    if (this.fitted || this.map === undefined || this.store.count === 0) return;
    this.fitted = this.map.fit(false);
  }

  // --- what is drawn ---

  private recolor(dark: boolean): void {
    this.map?.setDark(dark);
    this.tick();
  }

  /** Twice a second: ages, rows, panel, colour scale. Of the map only what changes by itself: nothing may move for hours. */
  private tick(): void {
    this.status.tick();
    if (this.feedState?.name === "live") this.server.tick();
    if (this.scale.grow(this.store, this.nowMs())) this.showScale();
    this.list.refresh();
    this.showPanel();
    setText(byId("count", HTMLElement), this.list.countText);
    this.keepUp();
    this.map?.tick();
    this.linking.tick();
  }

  /** Show the devices that are asked for. */
  private find(): void {
    this.map?.layer.invalidate();
    this.tick();
  }

  private showScale(): void {
    setText(byId("legend-max", HTMLElement), `${this.scale.end} km/h`);
    if (this.map === undefined) return;
    this.map.layer.look.speedScale = this.scale.end;
    this.map.layer.invalidate();
  }

  private showPanel(): void {
    const { device } = this.selection;
    const position = device === undefined ? undefined : this.store.position(device);
    const overdue = device !== undefined && this.store.isOverdue(device, this.nowMs());
    this.favourites.show(position?.deviceId);
    this.panel.show(position, this.store.entries, this.nowMs(), overdue);
  }

  /** The time that is shown. */
  private nowMs(): number {
    return this.replaying.timeMs ?? this.server.nowMs;
  }
}

/** The address of a file that was built beside this script. */
function asset(name: keyof typeof ASSETS): string {
  return new URL(ASSETS[name], import.meta.url).href;
}

void new App().start();
