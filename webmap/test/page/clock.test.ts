import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerClock } from "../../src/page/clock.ts";

class Machine {
  wallMs = 5_000_000;
  monotonicMs = 100;
  readonly clock = new ServerClock(
    () => this.wallMs,
    () => this.monotonicMs,
  );

  pass(ms: number): void {
    this.wallMs += ms;
    this.monotonicMs += ms;
  }
}

test("the server's time goes on, whatever this machine's clock says", () => {
  const machine = new Machine();
  machine.clock.set(9_000_000);
  machine.pass(1_234);
  assert.equal(machine.clock.nowMs, 9_001_234);
  assert.equal(machine.clock.mustAsk(), false);
});

test("a clock that is set, or a machine that slept, has the server asked again, and not all the time", () => {
  for (const shiftMs of [-3_600_000, 501]) {
    const machine = new Machine();
    machine.clock.set(9_000_000);
    machine.wallMs += shiftMs;
    assert.deepEqual([machine.clock.mustAsk(), machine.clock.mustAsk()], [true, false]);
    machine.pass(10_000);
    assert.equal(machine.clock.mustAsk(), true);
    machine.clock.set(9_010_000);
    machine.pass(20_000);
    assert.deepEqual([machine.clock.nowMs, machine.clock.mustAsk()], [9_030_000, false]);
  }
});
