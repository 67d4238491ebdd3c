import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Asking } from "../../src/app/asking.ts";

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Somebody who is asked, under a clock of their own. */
class Asked {
  answers = true;
  count = 0;
  private timeMs = 0;
  readonly asking = new Asking(
    () => Promise.resolve((this.count++, this.answers)),
    () => this.timeMs,
  );

  constructor(private readonly timers: typeof mock.timers) {
    timers.enable({ apis: ["setTimeout"] });
  }

  async pass(ms: number): Promise<void> {
    this.timeMs += ms;
    this.timers.tick(ms);
    await settled();
  }
}

test("each of a few returns is a question at once, in the long run there is one a minute", async ({ mock }) => {
  const asked = new Asked(mock.timers);
  for (const expected of [1, 2, 3, 4]) {
    asked.asking.soon();
    await asked.pass(1);
    assert.equal(asked.count, expected);
  }
  for (let second = 0; second < 600; second++) {
    asked.asking.soon();
    await asked.pass(1_000);
  }
  assert.equal(asked.count, 4 + 10);
});

test("a return that must wait is not forgotten, and none makes no question", async ({ mock }) => {
  const asked = new Asked(mock.timers);
  for (let returns = 0; returns < 5; returns++) {
    asked.asking.soon();
    await asked.pass(1);
  }
  assert.equal(asked.count, 4);
  await asked.pass(60_000);
  assert.equal(asked.count, 5);
  await asked.pass(3_600_000);
  assert.equal(asked.count, 5);
});

test("what is not answered is asked again, ever less often", async ({ mock }) => {
  const asked = new Asked(mock.timers);
  asked.answers = false;
  asked.asking.soon();
  await asked.pass(1);
  assert.equal(asked.count, 1);
  for (const waitMs of [4_000, 8_000, 16_000]) {
    const before: number = asked.count;
    await asked.pass(waitMs / 2 - 1);
    assert.equal(asked.count, before);
    await asked.pass(waitMs / 2 + 1);
    assert.equal(asked.count, before + 1);
  }
  asked.answers = true;
  await asked.pass(60_000);
  const { count } = asked;
  await asked.pass(3_600_000);
  assert.equal(asked.count, count);
});
