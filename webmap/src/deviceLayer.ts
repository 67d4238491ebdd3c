/** All devices and trails in three draw calls, as a custom layer of the map. */
import type { CustomLayerInterface, Map as MapLibreMap } from "maplibre-gl";
import { DEVICE_FLOATS, FROM, GLIDE, LOOK, TO, fillDevices, type Clock } from "./deviceBuffer.ts";
import { bindAttributes, createProgram, type Attribute, type Program } from "./gl.ts";
import { LINE_FRAGMENT, MARKER_FRAGMENT, MARKER_VERTEX, STUB_VERTEX, TRAIL_VERTEX } from "./shaders.ts";
import type { DeviceStore } from "./store.ts";
import { SLOT_FLOATS } from "./trails.ts";
import { clipMatrix, type View } from "./view.ts";

export interface Look {
  dark: boolean;
  speedScale: number;
  selected: number | undefined;
}

const MARKER_ATTRIBUTES: readonly Attribute[] = [
  { location: 0, size: 4, strideFloats: DEVICE_FLOATS, offsetFloats: FROM, divisor: 1 },
  { location: 1, size: 4, strideFloats: DEVICE_FLOATS, offsetFloats: TO, divisor: 1 },
  { location: 2, size: 2, strideFloats: DEVICE_FLOATS, offsetFloats: GLIDE, divisor: 1 },
  { location: 3, size: 4, strideFloats: DEVICE_FLOATS, offsetFloats: LOOK, divisor: 1 },
];

/** A crowd needs smaller markers than a handful does. */
function markerSize(count: number, zoom: number): number {
  const crowd = count > 4000 ? 0.5 : count > 1000 ? 0.65 : count > 250 ? 0.8 : 1;
  return crowd * Math.max(0.75, Math.min(1.25, 0.75 + (zoom - 6) * 0.06));
}

interface Graphics {
  readonly markers: Program;
  readonly stubs: Program;
  readonly trails: Program;
  readonly markerArray: WebGLVertexArrayObject;
  readonly trailArray: WebGLVertexArrayObject;
  readonly deviceBuffer: WebGLBuffer;
  readonly trailBuffer: WebGLBuffer;
}

export class DeviceLayer implements CustomLayerInterface {
  readonly id = "devices";
  readonly type = "custom";
  readonly look: Look = { dark: true, speedScale: 40, selected: undefined };
  pictures = 0;
  private map: MapLibreMap | undefined;
  private graphics: Graphics | undefined;
  private data = new Float32Array(0);
  private filledAt = 0;
  private glidingUntil = 0;
  private dirty = true;
  private trailPoints = 0;

  constructor(
    private readonly store: DeviceStore,
    private readonly view: () => View,
    private readonly clock: () => Clock,
  ) {}

  /** Say that devices, the selection or the colours changed: drawn once in the next picture. */
  invalidate(): void {
    this.dirty = true;
    this.map?.triggerRepaint();
  }

  onAdd(map: MapLibreMap, gl: WebGL2RenderingContext): void {
    this.map = map;
    this.graphics = {
      markers: createProgram(gl, MARKER_VERTEX, MARKER_FRAGMENT),
      stubs: createProgram(gl, STUB_VERTEX, LINE_FRAGMENT),
      trails: createProgram(gl, TRAIL_VERTEX, LINE_FRAGMENT),
      markerArray: gl.createVertexArray(),
      trailArray: gl.createVertexArray(),
      deviceBuffer: gl.createBuffer(),
      trailBuffer: gl.createBuffer(),
    };
    gl.bindVertexArray(this.graphics.markerArray);
    bindAttributes(gl, this.graphics.deviceBuffer, MARKER_ATTRIBUTES);
    gl.bindVertexArray(null);
    this.trailPoints = 0;
    this.store.trails.dirty = this.dirty = true;
  }

  render(gl: WebGL2RenderingContext): void {
    if (this.graphics === undefined) return;
    const clock = this.clock();
    if (this.dirty) this.upload(gl, this.graphics, clock);
    this.pictures += 1;
    const devices = this.store.ids.length;
    if (devices === 0) return;
    gl.bindVertexArray(this.graphics.trailArray);
    this.use(gl, this.graphics.trails, clock);
    gl.uniform1f(this.graphics.trails.uniform("u_points"), this.store.trails.points);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, devices * (this.store.trails.points + 1) - 1);
    gl.bindVertexArray(this.graphics.markerArray);
    this.use(gl, this.graphics.stubs, clock);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, devices);
    this.use(gl, this.graphics.markers, clock);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, devices);
    gl.bindVertexArray(null);
    if (clock.timeMs < this.glidingUntil) this.map?.triggerRepaint();
  }

  private upload(gl: WebGL2RenderingContext, graphics: Graphics, clock: Clock): void {
    this.dirty = false;
    const needed = this.store.present.length * DEVICE_FLOATS;
    if (this.data.length !== needed) this.data = new Float32Array(needed);
    this.glidingUntil = fillDevices(this.data, this.store, this.look.selected, clock);
    this.filledAt = clock.timeMs;
    gl.bindBuffer(gl.ARRAY_BUFFER, graphics.deviceBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, this.data, gl.DYNAMIC_DRAW);
    const { trails } = this.store;
    if (!trails.dirty) return;
    trails.dirty = false;
    gl.bindBuffer(gl.ARRAY_BUFFER, graphics.trailBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, trails.slots, gl.DYNAMIC_DRAW);
    if (this.trailPoints !== trails.points) this.layOutTrails(gl, graphics);
  }

  private layOutTrails(gl: WebGL2RenderingContext, graphics: Graphics): void {
    this.trailPoints = this.store.trails.points;
    gl.bindVertexArray(graphics.trailArray);
    const slot = { strideFloats: SLOT_FLOATS, divisor: 1 };
    bindAttributes(gl, graphics.trailBuffer, [
      { ...slot, location: 0, size: 4, offsetFloats: 0 },
      { ...slot, location: 1, size: 1, offsetFloats: 4 },
      { ...slot, location: 2, size: 4, offsetFloats: SLOT_FLOATS },
      { ...slot, location: 3, size: 1, offsetFloats: SLOT_FLOATS + 4 },
    ]);
    const perDevice = { strideFloats: DEVICE_FLOATS, offsetFloats: LOOK, divisor: this.trailPoints + 1 };
    bindAttributes(gl, graphics.deviceBuffer, [{ ...perDevice, location: 4, size: 4 }]);
    gl.bindVertexArray(null);
  }

  private use(gl: WebGL2RenderingContext, program: Program, clock: Clock): void {
    const view = this.view();
    const [coarseX, coarseY] = [Math.fround(view.centerX), Math.fround(view.centerY)];
    const ratio = gl.drawingBufferWidth / view.width;
    gl.useProgram(program.program);
    gl.uniform4f(program.uniform("u_center"), coarseX, coarseY, view.centerX - coarseX, view.centerY - coarseY);
    gl.uniformMatrix2fv(program.uniform("u_project"), false, clipMatrix(view));
    gl.uniform2f(program.uniform("u_pixel"), 2 / gl.drawingBufferWidth, 2 / gl.drawingBufferHeight);
    gl.uniform1f(program.uniform("u_ratio"), ratio);
    gl.uniform1f(program.uniform("u_now"), clock.timeMs - this.filledAt);
    gl.uniform1f(program.uniform("u_scale"), this.look.speedScale);
    gl.uniform1f(program.uniform("u_dark"), this.look.dark ? 1 : 0);
    gl.uniform1f(program.uniform("u_size"), markerSize(this.store.count, this.map?.getZoom() ?? 0));
    gl.uniform1f(program.uniform("u_bearing"), view.bearingRadians);
    gl.uniform1f(program.uniform("u_glow"), this.look.dark && this.store.count <= 2000 ? 0.35 : 0);
  }
}
