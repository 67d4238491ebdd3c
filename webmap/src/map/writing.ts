/** Texts on the canvas over the map, and the room that they take. */

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** How something is written, in the dark and in the light. */
export type Ink = readonly [dark: string, light: string];

/** What keeps a text readable on whatever is behind it. */
const HALO: Ink = ["rgba(9, 14, 25, 0.9)", "rgba(255, 255, 255, 0.92)"];

export function halo(dark: boolean): string {
  return HALO[dark ? 0 : 1];
}

/** Write at a place, in the font, and with the alignment, of the context. */
export function write(context: CanvasRenderingContext2D, text: string, [x, y]: readonly [number, number], dark: boolean, ink: Ink): void {
  context.lineWidth = 3.5;
  context.lineJoin = "round";
  context.strokeStyle = halo(dark);
  context.fillStyle = ink[dark ? 0 : 1];
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}

export function overlaps(one: Box, other: Box): boolean {
  return (
    one.x < other.x + other.width && other.x < one.x + one.width && one.y < other.y + other.height && other.y < one.y + one.height
  );
}
