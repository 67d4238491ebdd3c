/** The device that is looked at: in list, panel and map at once, and found again whenever it is there. */
import type { DeviceStore } from "../devices/store.ts";

export interface SelectionHost {
  /** Mark this device everywhere, or none. */
  mark(device: number | undefined): void;
  /** Bring it into view. */
  show(device: number): void;
  following(on: boolean): void;
}

export class Selection {
  /** Its index, while it is there. */
  device: number | undefined;
  following = false;
  /** Who it is: a link may name it before it is there, and a replay may begin before it came. */
  private id: string | undefined;
  private toShow = false;

  constructor(
    private readonly store: DeviceStore,
    private readonly host: SelectionHost,
  ) {}

  get deviceId(): string | undefined {
    return this.id;
  }

  /** Select a device, or none; `show` brings it into view as soon as it is there. */
  select(deviceId: string | undefined, show = false): void {
    this.id = deviceId;
    this.toShow = show;
    if (deviceId === undefined) this.follow(false);
    this.update();
  }

  /** Keep the selected device in view, or no longer. */
  follow(on: boolean, show = true): void {
    this.following = on && this.id !== undefined;
    this.host.following(this.following);
    if (this.following && show && this.device !== undefined) this.host.show(this.device);
  }

  /** Find the device again: it may have come, gone, or another index now. */
  update(): void {
    const device = this.id === undefined ? undefined : this.store.indexOf(this.id);
    if (device !== this.device) {
      this.device = device;
      this.host.mark(device);
    }
    if (device === undefined || !this.toShow) return;
    this.toShow = false;
    this.host.show(device);
  }
}
