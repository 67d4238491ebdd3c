/** In which order the devices are listed. */
import type { DeviceStore } from "../../devices/store.ts";

/** Orders, and what they are called. */
export const ORDERS = { number: "Number", name: "Name", speed: "Speed", seen: "Last seen" } as const;
export type Order = keyof typeof ORDERS;

const collator = new Intl.Collator(undefined, { numeric: true });

export function isOrder(text: string | undefined): text is Order {
  return text !== undefined && Object.hasOwn(ORDERS, text);
}

/** Whether an order changes with every position. */
export function changesAlways(order: Order): boolean {
  return order === "speed" || order === "seen";
}

/** The devices that the filter shows, by number or by name: what changes only when devices, their names or the filter do. */
export function byText(store: DeviceStore, order: Order): number[] {
  const { entries, ids } = store;
  const textOf = (deviceId: string): string => (order === "name" ? entries.nameOf(deviceId) : entries.orderOf(deviceId));
  return [...store.shown(undefined)]
    .map((device): [number, string] => [device, textOf(ids[device] ?? "")])
    .sort(([, one], [, other]) => collator.compare(one, other))
    .map(([device]) => device);
}

/** Arrange devices: favourites first, then the fastest or the last seen; those that are alike keep their order. */
export function arranged(
  store: DeviceStore,
  devices: readonly number[],
  order: Order,
  favourites: ReadonlySet<string>,
  isOverdue: (device: number) => boolean,
): number[] {
  const { speed, ts } = store.columns;
  const rank = (device: number): number => (favourites.has(store.ids[device] ?? "") ? 1 : 0);
  const value = (device: number): number => {
    if (order === "seen") return ts[device] ?? 0;
    // The speed of a device that is silent is of another time, and not shown.
    return order === "speed" ? (isOverdue(device) ? -1 : (speed[device] ?? 0)) : 0;
  };
  return devices
    .map((device): [number, number, number] => [device, rank(device), value(device)])
    .sort(([, oneRank, one], [, otherRank, other]) => otherRank - oneRank || other - one)
    .map(([device]) => device);
}
