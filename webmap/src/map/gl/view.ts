/** The view as an affine map. It is exact at every zoom, because the map is never tilted. */

export interface View {
  readonly centerX: number;
  readonly centerY: number;
  /** CSS pixels per unit of the Mercator square. */
  readonly worldSize: number;
  readonly bearingRadians: number;
  readonly width: number;
  readonly height: number;
}

/** Mercator to CSS pixels, from the upper left corner of the view; of the worlds side by side it is the nearest one's. */
export function project(view: View, x: number, y: number): [number, number] {
  const apart = x - view.centerX;
  const dx = (apart - Math.round(apart)) * view.worldSize;
  const dy = (y - view.centerY) * view.worldSize;
  const cos = Math.cos(view.bearingRadians);
  const sin = Math.sin(view.bearingRadians);
  return [view.width / 2 + dx * cos + dy * sin, view.height / 2 - dx * sin + dy * cos];
}

/** Column-major 2×2 matrix from a Mercator difference to clip space. */
export function clipMatrix(view: View): Float32Array {
  const cos = Math.cos(view.bearingRadians);
  const sin = Math.sin(view.bearingRadians);
  const scaleX = (2 * view.worldSize) / view.width;
  const scaleY = (2 * view.worldSize) / view.height;
  return new Float32Array([cos * scaleX, sin * scaleY, sin * scaleX, -cos * scaleY]);
}

export function isVisible(view: View, px: number, py: number, marginPx: number): boolean {
  return px >= -marginPx && py >= -marginPx && px <= view.width + marginPx && py <= view.height + marginPx;
}
