import assert from "node:assert/strict";
import { test } from "node:test";
import { SessionWatch } from "../../src/feed/session.ts";

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

test("a session that is over is asked for ever less often, and at once by who comes back", async ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let [asked, over, returned] = [0, true, 0];
  const watch = new SessionWatch(
    () => Promise.resolve((asked++, over)),
    () => (returned += 1),
  );
  watch.watch(true);
  for (const waitMs of [4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
    const before = asked;
    mock.timers.tick(waitMs / 2 - 1);
    assert.equal(asked, before);
    mock.timers.tick(waitMs / 2 + 1);
    await settled();
    assert.equal(asked, before + 1);
    watch.watch(true);
  }
  over = false;
  await watch.ask();
  mock.timers.tick(60_000);
  assert.deepEqual([asked, returned], [7, 1]);
  await watch.ask();
  assert.equal(asked, 7);
});

test("what is answered after somebody went on counts no more", async ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let returned = 0;
  const watch = new SessionWatch(
    () => Promise.resolve(false),
    () => (returned += 1),
  );
  watch.watch(true);
  const answer = watch.ask();
  watch.watch(false);
  await answer;
  assert.equal(returned, 0);
});
