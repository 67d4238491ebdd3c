/** The map: base map, device layer, labels, picking and camera. */
import { AttributionControl, addProtocol, Map as MapLibreMap, NavigationControl, ScaleControl, setWorkerUrl, type GeoJSONSource, type Tile } from "maplibre-gl";
import { boundsOf } from "./bounds.ts";
import { margins, uncovered, type Box } from "./cover.ts";
import { COURSE_EDGE, COURSE_SOURCE, courseData, courseLayers } from "./course.ts";
import type { Clock } from "./gl/buffer.ts";
import { DeviceLayer } from "./gl/layer.ts";
import { gridLines } from "./base/grid.ts";
import { Mending, persist, type TilePlace } from "./base/mending.ts";
import { Labels } from "./labels.ts";
import type { Course } from "../course/course.ts";
import { latitude, longitude, mercatorX, mercatorY } from "../devices/mercator.ts";
import type { DeviceStore } from "../devices/store.ts";
import { mapStyle, NO_WORLD } from "./base/style.ts";
import type { Tiles } from "./base/tiles.ts";
import { loadWorld } from "./base/world.ts";
import { visitMarkers } from "./gl/markers.ts";
import { project, type View } from "./gl/view.ts";

const PICK_RADIUS_PX = 18;
/** MapLibre's tiles are 512 pixels at zoom 0. */
const WORLD_PX = 512;
const FIT_MAX_ZOOM = 14;
/** Up to this width MapLibre folds attributions by itself. */
const NARROW_PX = 640;
/** A little longer than the time between two calls of `follow`: the map does not stop between them. */
const FOLLOW_MS = 600;

export interface Camera {
  readonly lat: number;
  readonly lon: number;
  readonly zoom: number;
  readonly bearing: number;
}

export interface MapOptions {
  readonly container: HTMLElement;
  readonly workerUrl: string;
  readonly dark: boolean;
  readonly reducedMotion: () => boolean;
  readonly clock: () => Clock;
  /** The first picture with devices was drawn, or could have been; or the first one after a loss. */
  readonly onDrawn: () => void;
  /** The browser has lost what it draws with, and may get it again. */
  readonly onLost: () => void;
  readonly onPick: (device: number | undefined) => void;
  readonly onDrag: () => void;
  /** Elements that may cover a part of the map, as the panel does. */
  readonly covering: readonly Element[];
  /** Elements at its edges, beside the map's own. */
  readonly controls: readonly Element[];
}

export class LiveMap {
  readonly layer: DeviceLayer;
  private readonly map: MapLibreMap;
  private readonly labels: Labels;
  private dark: boolean;
  private course: Course | undefined;
  private world = NO_WORLD;
  private outlining = false;
  private tiles: Tiles | undefined;
  private opening = false;
  private readonly mending = new Mending((tiles) => this.refresh(tiles));
  /** Whether somebody chose what is in view, and not `fit`. */
  private moved = false;
  /** While the browser has nothing to draw with, the map has no style that could be asked or changed. */
  private lost = false;

  constructor(
    private readonly store: DeviceStore,
    private readonly options: MapOptions,
  ) {
    setWorkerUrl(options.workerUrl);
    this.dark = options.dark;
    this.map = this.createMap();
    this.layer = new DeviceLayer(store, () => this.view(), options.clock);
    this.layer.look.dark = options.dark;
    this.labels = new Labels(this.map.getCanvasContainer(), store);
    this.map.on("style.load", () => this.styled());
    this.map.on("moveend", () => this.drawGrid());
    this.layer.onDrawn = options.onDrawn;
    this.map.on("webglcontextlost", () => {
      this.lost = true;
      // Otherwise names would stay where there are no markers any more.
      this.labels.clear();
      options.onLost();
    });
    this.map.on("webglcontextrestored", () => {
      this.lost = false;
      this.restyle();
    });
    this.map.on("error", (event) => {
      const { tile } = event as { tile?: Tile };
      if (tile === undefined) console.error(event.error);
      else this.mending.failed(tile.tileID.canonical);
    });
    this.map.on("sourcedata", ({ tile }) => {
      if (tile !== undefined) this.mending.came((tile as Tile).tileID.canonical.key);
    });
    this.map.on("render", () => this.drawLabels());
    // Devices at the edges would be out of sight, on a phone that is turned too.
    this.map.on("resize", () => {
      if (!this.moved && this.layer.look.selected === undefined) this.fit(false);
    });
    onOtherPixels(() => this.map.resize().triggerRepaint());
    this.map.on("click", (event) => options.onPick(this.pick(event.point.x, event.point.y)));
    this.map.on("mousemove", (event) => this.hover(this.pick(event.point.x, event.point.y)));
    this.map.on("mouseout", () => this.hover(undefined));
    this.map.on("dragstart", () => options.onDrag());
    this.map.on("movestart", (event) => {
      if (event.originalEvent !== undefined) this.moved = true;
    });
  }

  setDark(dark: boolean): void {
    this.dark = this.layer.look.dark = dark;
    this.restyle();
  }

  select(device: number | undefined): void {
    this.layer.look.selected = device;
    if (device !== undefined) this.foldAttribution();
    this.layer.invalidate();
  }

  /** Draw a course below the devices, and show all of it unless somebody is looking at something else. */
  setCourse(course: Course | undefined): void {
    this.course = course;
    this.labels.course.set(course);
    this.map.triggerRepaint();
    void this.source(COURSE_SOURCE)?.setData(courseData(course));
    if (course !== undefined && !this.moved && this.layer.look.selected === undefined) this.fit(false);
  }

  /** Draw the outlines of countries. */
  async setOutlines(url: string): Promise<void> {
    if (this.outlining || this.world !== NO_WORLD) return;
    this.outlining = true;
    try {
      this.world = await persist(() => loadWorld(url));
      for (const name of ["countries", "names"] as const) void this.source(name)?.setData(this.world[name]);
    } catch (error) {
      console.warn("The outlines of countries cannot be read.", error);
    }
    this.outlining = false;
  }

  /** Draw on the tiles of an archive, above the outlines: these stay around it, and when it cannot be read. */
  async setTiles(url: string): Promise<void> {
    if (this.opening || this.tiles !== undefined) return;
    this.opening = true;
    try {
      const { openTiles } = await import("./base/tiles.ts");
      this.tiles = await persist(() => openTiles(url, addProtocol));
      // Otherwise the style is not there yet, or not any more.
      if (this.source(COURSE_SOURCE) !== undefined) this.addTiles();
    } catch (error) {
      console.warn("The base map cannot be read.", error);
    }
    this.opening = false;
  }

  /** Ask again for tiles that did not come, now that the server can be reached. */
  mendTiles(): void {
    this.mending.askAll();
  }

  private refresh(tiles: readonly TilePlace[]): void {
    if (this.lost || this.tiles === undefined || this.map.getSource(this.tiles.id) === undefined) return;
    // By their names: without, the map goes on waiting for those that failed.
    this.map.refreshTiles(this.tiles.id, [...tiles]);
  }

  /** What of the tiles is in view. */
  tileFeatures(): { layer: string; kind: string; name: string }[] {
    const { tiles, map } = this;
    if (this.lost || tiles === undefined || map.getSource(tiles.id) === undefined) return [];
    const layers = map.getLayersOrder().filter((id) => id.startsWith(tiles.id));
    return map.queryRenderedFeatures({ layers }).map(({ sourceLayer, properties }) => {
      return { layer: sourceLayer ?? "", kind: String(properties["kind"]), name: String(properties["name"] ?? "") };
    });
  }

  /** Texts beside the course that are shown now. */
  get courseTexts(): readonly string[] {
    return this.labels.courseShown;
  }

  /** Show all devices that the filter shows, and the course. Return false if there is nothing yet. */
  fit(animate = true): boolean {
    const bounds = boundsOf([...this.store.shown(this.layer.look.selected)].map((device) => this.store.position(device)), this.course);
    if (bounds === undefined) return false;
    this.moved = false;
    const [map, free] = this.uncovered();
    this.map.fitBounds(bounds, { padding: margins(map, free, this.boxes(this.controls)), maxZoom: FIT_MAX_ZOOM, animate: animate && !this.options.reducedMotion() });
    return true;
  }

  /** What somebody chose to see; undefined while that is everything. */
  get camera(): Camera | undefined {
    if (!this.moved) return undefined;
    const { lng, lat } = this.map.getCenter();
    return { lat, lon: lng, zoom: this.map.getZoom(), bearing: this.map.getBearing() };
  }

  set camera(camera: Camera | undefined) {
    this.moved = camera !== undefined;
    if (camera !== undefined) this.map.jumpTo({ center: [camera.lon, camera.lat], zoom: camera.zoom, bearing: camera.bearing });
  }

  /** Bring a device to the middle, zoomed in far enough to see it move. */
  show(device: number): void {
    const [x, y] = this.store.shownAt(device, this.options.clock().timeMs);
    const zoom = Math.max(this.map.getZoom(), 12);
    const center: [number, number] = [longitude(x), latitude(y)];
    this.map.easeTo({ center, zoom, offset: this.offset(), duration: this.options.reducedMotion() ? 0 : 600 });
  }

  /** Show which devices have become overdue, and their ages. */
  tick(): void {
    if (!this.layer.age() && this.labels.showsAges) this.drawLabels();
  }

  /** Keep a device in the middle, gliding as its marker does. Called with every batch, and twice a second. */
  follow(device: number): void {
    if (this.map.isZooming()) return;
    const duration = this.options.reducedMotion() ? 0 : FOLLOW_MS;
    const [x, y] = this.store.shownAt(device, this.options.clock().timeMs + duration);
    const center: [number, number] = [longitude(x), latitude(y)];
    const offset = this.offset();
    const view = this.view();
    const [px, py] = project(view, x, y);
    // A device that stands keeps nothing busy, and links tell zooms to two digits: as much as this beside a panel.
    if (Math.hypot(px - view.width / 2 - offset[0], py - view.height / 2 - offset[1]) < 1) return;
    this.map.easeTo({ center, offset, duration, easing: (share) => share, essential: false });
  }

  /** From the middle of the map to the middle of its uncovered part, in pixels to the right and down. */
  private offset(): [number, number] {
    const [map, free] = this.uncovered();
    return [(free.left + free.right - map.left - map.right) / 2, (free.top + free.bottom - map.top - map.bottom) / 2];
  }

  /** The map, and the part of it on which nothing lies. */
  private uncovered(): [map: Box, free: Box] {
    const map = this.options.container.getBoundingClientRect();
    return [map, uncovered(map, this.boxes(this.options.covering))];
  }

  /** What lies at the edges of the map. */
  private get controls(): Element[] {
    return [...this.options.controls, ...this.options.container.querySelectorAll(".maplibregl-ctrl")];
  }

  private boxes(elements: readonly Element[]): Box[] {
    return elements.map((element) => element.getBoundingClientRect());
  }

  pick(px: number, py: number): number | undefined {
    const { timeMs } = this.options.clock();
    let best: number | undefined;
    let bestDistance = PICK_RADIUS_PX;
    visitMarkers(this.store, this.layer.look.selected, this.view(), timeMs, PICK_RADIUS_PX, (device, x, y) => {
      const distance = Math.hypot(x - px, y - py);
      if (distance >= bestDistance) return;
      bestDistance = distance;
      best = device;
    });
    return best;
  }

  private hover(device: number | undefined): void {
    this.map.getCanvas().style.cursor = device === undefined ? "" : "pointer";
    this.labels.hovered = device === undefined ? undefined : this.store.ids[device];
    this.map.triggerRepaint();
  }

  private drawLabels(): void {
    const { left, top } = this.options.container.getBoundingClientRect();
    const covers = this.boxes([...this.options.covering, ...this.controls]).map((cover) => {
      return { x: cover.left - left, y: cover.top - top, width: cover.right - cover.left, height: cover.bottom - cover.top };
    });
    this.labels.draw({ view: this.view(), zoom: this.map.getZoom(), covers, selected: this.layer.look.selected, dark: this.dark }, this.options.clock());
  }

  private createMap(): MapLibreMap {
    const map = new MapLibreMap({
      container: this.options.container,
      style: mapStyle(this.world, this.dark),
      center: [15, 35],
      zoom: 1.6,
      maxZoom: 19,
      maxPitch: 0,
      attributionControl: false,
      canvasContextAttributes: { powerPreference: "high-performance" },
    });
    map.addControl(new AttributionControl({ compact: true, customAttribution: "Natural Earth" }), "bottom-right");
    map.addControl(new NavigationControl({ visualizePitch: false }), "top-right");
    map.addControl(new ScaleControl({ maxWidth: 120 }), "bottom-left");
    return map;
  }

  /** As the map does when it is dragged: on a phone panel and list leave no room for more than its button. */
  private foldAttribution(): void {
    const { container } = this.options;
    if (container.clientWidth > NARROW_PX) return;
    container.querySelector(".maplibregl-ctrl-attrib")?.classList.remove("maplibregl-compact-show");
  }

  /** Draw everything anew. */
  private restyle(): void {
    if (!this.lost) this.map.setStyle(mapStyle(this.world, this.dark), { diff: false });
  }

  private source(id: string): GeoJSONSource | undefined {
    return this.lost ? undefined : this.map.getSource<GeoJSONSource>(id);
  }

  private addTiles(): void {
    if (this.tiles === undefined) return;
    // What shows that a marker moves where there is nothing else.
    this.map.setLayoutProperty("grid", "visibility", "none");
    this.map.addSource(this.tiles.id, this.tiles.source);
    const above = this.map.getLayer(COURSE_EDGE) === undefined ? undefined : COURSE_EDGE;
    for (const layer of this.tiles.layers(this.dark)) this.map.addLayer(layer, above);
  }

  private styled(): void {
    this.addTiles();
    this.map.addSource(COURSE_SOURCE, { type: "geojson", data: courseData(this.course), tolerance: 0.2 });
    for (const layer of courseLayers(this.dark)) this.map.addLayer(layer);
    if (this.map.getLayer(this.layer.id) === undefined) this.map.addLayer(this.layer);
    this.drawGrid();
  }

  private drawGrid(): void {
    const bounds = this.map.getBounds();
    void this.source("grid")?.setData(gridLines({ west: bounds.getWest(), south: bounds.getSouth(), east: bounds.getEast(), north: bounds.getNorth() }));
  }

  private view(): View {
    const { lng, lat } = this.map.getCenter();
    const canvas = this.map.getCanvas();
    return {
      centerX: mercatorX(lng),
      centerY: mercatorY(lat),
      worldSize: WORLD_PX * 2 ** this.map.getZoom(),
      bearingRadians: (this.map.getBearing() * Math.PI) / 180,
      width: canvas.clientWidth,
      height: canvas.clientHeight,
    };
  }
}

/** The map hears of other sizes by itself, but not of a screen with larger or smaller pixels, to which a window may be moved. */
function onOtherPixels(changed: () => void): void {
  const screen = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
  const change = (): void => {
    changed();
    onOtherPixels(changed);
  };
  screen.addEventListener("change", change, { once: true });
}
