import assert from "node:assert/strict";
import { test } from "node:test";
import { Selection } from "../../src/app/selection.ts";
import { DeviceStore } from "../../src/devices/store.ts";

/** A selection, and what it had others do. */
class Fixture {
  readonly store = new DeviceStore();
  readonly selection: Selection;
  private readonly did: string[] = [];

  constructor() {
    this.selection = new Selection(this.store, {
      mark: (device) => this.did.push(`mark ${device}`),
      show: (device) => this.did.push(`show ${device}`),
      following: (on) => this.did.push(`following ${on}`),
    });
  }

  /** Let these devices be there, and no others. */
  come(...ids: string[]): void {
    this.store.clearDevices();
    const values = ids.flatMap((_, device) => [device, 42, 21, 1_000, 10, 0]);
    this.store.apply({ newIds: ids, values: new Float64Array(values), replaces: true }, 0);
    this.selection.update();
  }

  /** What was done since it was last asked. */
  since(): string[] {
    return this.did.splice(0);
  }
}

test("a device is marked and shown as soon as it is there, and once", () => {
  const page = new Fixture();
  page.selection.select("b", true);
  page.selection.follow(true);
  assert.deepEqual(page.since(), ["following true"]);
  page.come("a", "b");
  page.selection.update();
  assert.deepEqual(page.since(), ["mark 1", "show 1"]);
  page.selection.select("a");
  assert.deepEqual(page.since(), ["mark 0"]);
});

test("a device that went is found again, and followed still, at its other index", () => {
  const page = new Fixture();
  page.come("a", "b");
  page.selection.select("b");
  page.selection.follow(true);
  assert.deepEqual(page.since(), ["mark 1", "following true", "show 1"]);
  page.come("a");
  assert.deepEqual(page.since(), ["mark undefined"]);
  page.come("b", "a");
  assert.deepEqual([page.since(), page.selection.following], [["mark 0"], true]);
});

test("who is deselected is not followed, and not found again", () => {
  const page = new Fixture();
  page.come("a");
  page.selection.select("a");
  page.selection.follow(true);
  page.since();
  page.selection.select(undefined);
  assert.deepEqual(page.since(), ["following false", "mark undefined"]);
  page.come("a");
  page.selection.follow(true);
  assert.deepEqual([page.since(), page.selection.following], [["following false"], false]);
});
