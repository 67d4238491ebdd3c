/** The markers' colours for the list; the shader and the legend hold the same four stops. */

type Color = readonly [number, number, number];

const DARK: readonly Color[] = [[59, 168, 240], [41, 224, 176], [250, 212, 64], [255, 97, 92]];
const LIGHT: readonly Color[] = [[79, 89, 242], [5, 140, 143], [217, 128, 5], [214, 26, 69]];

/** The colour of a speed on a scale that ends at `scale`, both in km/h. */
export function speedColor(speed: number, scale: number, dark: boolean): string {
  const stops = dark ? DARK : LIGHT;
  const at = Math.max(0, Math.min(1, speed / scale)) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  const [from, to] = [stops[low] as Color, stops[low + 1] as Color];
  const mixed = from.map((value, part) => Math.round(value + ((to[part] ?? 0) - value) * (at - low)));
  return `rgb(${mixed.join(" ")})`;
}
