/** All devices and trails in three draw calls, as a custom layer of the map. */
import type { CustomLayerInterface, Map as MapLibreMap } from "maplibre-gl";
import { DEVICE_FLOATS, fillDevices, type Clock, type Validity } from "./buffer.ts";
import { DataTexture, createProgram, type Program } from "./webgl.ts";
import { LINE_FRAGMENT, MARKER_FRAGMENT, MARKER_VERTEX, STUB_VERTEX, TRAIL_VERTEX } from "./shaders.ts";
import type { DeviceStore } from "../../devices/store.ts";
import { clipMatrix, type View } from "./view.ts";

export interface Look {
  dark: boolean;
  speedScale: number;
  selected: number | undefined;
}

/** A marker that has moved by less than this looks as before, CSS pixels. */
const STEP_PX = 0.25;
/** Shorter waits are for the next picture. */
const PICTURE_MS = 16;

/** Many devices need smaller markers than a few. */
function markerSize(count: number, zoom: number): number {
  const crowd = count > 4000 ? 0.5 : count > 1000 ? 0.65 : count > 250 ? 0.8 : 1;
  return crowd * Math.max(0.75, Math.min(1.25, 0.75 + (zoom - 6) * 0.06));
}

interface Graphics {
  readonly markers: Program;
  readonly stubs: Program;
  readonly trails: Program;
  /** Without attributes: bound so that those of the map are not. */
  readonly noAttributes: WebGLVertexArrayObject;
  readonly devices: DataTexture;
  readonly slots: DataTexture;
}

export class DeviceLayer implements CustomLayerInterface {
  readonly id = "devices";
  readonly type = "custom";
  readonly look: Look = { dark: true, speedScale: 40, selected: undefined };
  pictures = 0;
  /** Called once, with the first picture. */
  onDrawn: () => void = () => undefined;
  private map: MapLibreMap | undefined;
  private graphics: Graphics | undefined;
  private data = new Float32Array(0);
  private filledAt: Clock = { timeMs: 0, nowMs: 0 };
  private valid: Validity = { glidingUntil: 0, fastest: 0, overdueAt: Infinity };
  private timer: ReturnType<typeof setTimeout> | undefined;
  private dirty = true;
  /** Whether nothing was drawn since the layer was added. */
  private fresh = true;

  constructor(
    private readonly store: DeviceStore,
    private readonly view: () => View,
    private readonly clock: () => Clock,
  ) {}

  /** Have changes of devices, selection or colours drawn, all of them in the next picture. */
  invalidate(): void {
    this.dirty = true;
    this.map?.triggerRepaint();
  }

  /** Have devices that have become overdue drawn grey; true if there are any. */
  age(): boolean {
    const { nowMs } = this.clock();
    // A replay, or a clock that was set, may also go back.
    const outdated = nowMs > this.valid.overdueAt || nowMs < this.filledAt.nowMs;
    if (outdated) this.invalidate();
    return outdated;
  }

  onAdd(map: MapLibreMap, gl: WebGL2RenderingContext): void {
    this.map = map;
    this.graphics = {
      markers: createProgram(gl, MARKER_VERTEX, MARKER_FRAGMENT),
      stubs: createProgram(gl, STUB_VERTEX, LINE_FRAGMENT),
      trails: createProgram(gl, TRAIL_VERTEX, LINE_FRAGMENT),
      noAttributes: gl.createVertexArray(),
      devices: new DataTexture(gl),
      slots: new DataTexture(gl),
    };
    this.store.trails.dirty = this.dirty = this.fresh = true;
  }

  render(gl: WebGL2RenderingContext): void {
    if (this.graphics === undefined) return;
    const clock = this.clock();
    if (this.dirty) this.upload(this.graphics, clock);
    this.pictures += 1;
    if (this.fresh) this.onDrawn();
    this.fresh = false;
    const devices = this.store.ids.length;
    if (devices === 0) return;
    gl.bindVertexArray(this.graphics.noAttributes);
    this.graphics.devices.bind(0);
    this.graphics.slots.bind(1);
    this.use(gl, this.graphics.trails, clock);
    gl.uniform1i(this.graphics.trails.uniform("u_points"), this.store.trails.points);
    gl.drawArrays(gl.TRIANGLES, 0, devices * this.store.trails.points * 6);
    this.use(gl, this.graphics.stubs, clock);
    gl.drawArrays(gl.TRIANGLES, 0, devices * 6);
    this.use(gl, this.graphics.markers, clock);
    gl.drawArrays(gl.POINTS, 0, devices);
    gl.bindVertexArray(null);
    this.goOn(clock);
  }

  /** Draw again when the fastest marker has moved by as much as can be seen. */
  private goOn({ timeMs }: Clock): void {
    clearTimeout(this.timer);
    const leftMs = this.valid.glidingUntil - timeMs;
    if (leftMs <= 0) return;
    const waitMs = Math.min(leftMs, STEP_PX / (this.valid.fastest * this.view().worldSize));
    if (waitMs <= PICTURE_MS) this.map?.triggerRepaint();
    else this.timer = setTimeout(() => this.map?.triggerRepaint(), waitMs);
  }

  private upload(graphics: Graphics, clock: Clock): void {
    this.dirty = false;
    const needed = this.store.present.length * DEVICE_FLOATS;
    if (this.data.length !== needed) this.data = new Float32Array(needed);
    this.valid = fillDevices(this.data, this.store, this.look.selected, clock);
    this.filledAt = clock;
    graphics.devices.upload(this.data);
    const { trails } = this.store;
    if (!trails.dirty) return;
    trails.dirty = false;
    graphics.slots.upload(trails.slots);
  }

  private use(gl: WebGL2RenderingContext, program: Program, clock: Clock): void {
    const view = this.view();
    const [coarseX, coarseY] = [Math.fround(view.centerX), Math.fround(view.centerY)];
    const ratio = gl.drawingBufferWidth / view.width;
    gl.useProgram(program.program);
    gl.uniform1i(program.uniform("u_devices"), 0);
    gl.uniform1i(program.uniform("u_slots"), 1);
    gl.uniform4f(program.uniform("u_center"), coarseX, coarseY, view.centerX - coarseX, view.centerY - coarseY);
    gl.uniformMatrix2fv(program.uniform("u_project"), false, clipMatrix(view));
    gl.uniform2f(program.uniform("u_pixel"), 2 / gl.drawingBufferWidth, 2 / gl.drawingBufferHeight);
    gl.uniform1f(program.uniform("u_ratio"), ratio);
    gl.uniform1f(program.uniform("u_now"), clock.timeMs - this.filledAt.timeMs);
    gl.uniform1f(program.uniform("u_scale"), this.look.speedScale);
    gl.uniform1f(program.uniform("u_dark"), this.look.dark ? 1 : 0);
    gl.uniform1f(program.uniform("u_size"), markerSize(this.store.count, this.map?.getZoom() ?? 0));
    gl.uniform1f(program.uniform("u_bearing"), view.bearingRadians);
    gl.uniform1f(program.uniform("u_glow"), this.look.dark && this.store.count <= 2000 ? 0.35 : 0);
  }
}
