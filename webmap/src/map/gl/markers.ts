/** Which markers are in view, and where: asked for each picture and movement of the mouse, for many thousands of devices. */
import type { DeviceStore } from "../../devices/store.ts";
import { isVisible, project, type View } from "./view.ts";

/** Call `visit` with each device shown that is in view or at most `marginPx` beside it, and where it is, in CSS pixels. */
export function visitMarkers(
  store: DeviceStore,
  selected: number | undefined,
  view: View,
  timeMs: number,
  marginPx: number,
  visit: (device: number, px: number, py: number) => void,
): void {
  const { x, y, fromX, fromY } = store.columns;
  // Most are far from the view, which a comparison tells without turning it.
  const reach = (Math.hypot(view.width, view.height) / 2 + marginPx) / view.worldSize;
  for (let device = 0; device < store.ids.length; device++) {
    if (store.present[device] !== 1) continue;
    const share = store.glidden(device, timeMs);
    const shownY = (fromY[device] as number) + ((y[device] as number) - (fromY[device] as number)) * share;
    if (Math.abs(shownY - view.centerY) > reach) continue;
    const shownX = (fromX[device] as number) + ((x[device] as number) - (fromX[device] as number)) * share;
    const apart = shownX - view.centerX;
    if (Math.abs(apart - Math.round(apart)) > reach) continue;
    if (!store.shows(device, selected)) continue;
    const [px, py] = project(view, shownX, shownY);
    if (isVisible(view, px, py, marginPx)) visit(device, px, py);
  }
}
