/** Web Mercator: the world as the unit square, x eastwards and y southwards, in double precision. */

/** Where the square ends. */
const MAX_LATITUDE = 85.051129;
const EARTH_CIRCUMFERENCE_M = 40_075_016.686;

export function mercatorX(lon: number): number {
  return (lon + 180) / 360;
}

export function mercatorY(lat: number): number {
  const clamped = Math.max(-MAX_LATITUDE, Math.min(MAX_LATITUDE, lat));
  const radians = (clamped * Math.PI) / 180;
  return 0.5 - Math.log(Math.tan(Math.PI / 4 + radians / 2)) / (2 * Math.PI);
}

export function longitude(x: number): number {
  return x * 360 - 180;
}

export function latitude(y: number): number {
  return (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI;
}

/** Metres on the ground per unit of the square at a given y. */
export function metresPerUnit(y: number): number {
  return EARTH_CIRCUMFERENCE_M * Math.cos((latitude(y) * Math.PI) / 180);
}
