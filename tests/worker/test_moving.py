"""Spectators who go from worker to worker while workers are killed and stopped."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

import aiohttp
import pytest

from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.app.live.sightings import Shown
from tests.worker.conftest import Pipeline, StartWorker, ms_of, record
from tests.worker.spectators import Spectators

DEVICES = [record(device, 0)["device_id"] for device in range(10)]
LAST = 200
TICK_S = 0.05


class Race:
    """Publishes positions of devices that move more and less often, and some that are late.

    Attributes:
        published: Timestamps of each device so far, late ones left out.
        added_ms: Everything up to this timestamp is in the stream.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.published: dict[str, list[int]] = {device: [] for device in DEVICES}
        self.added_ms = 0
        self._pipeline = pipeline

    async def run(self) -> None:
        for second in range(1, LAST + 1):
            moving = [number for number in range(10) if second % (2 * number + 1) == 0 or second == LAST]
            late = [record(number, second - 3) for number in moving if second % 5 == 0]
            for number in moving:
                self.published[DEVICES[number]].append(ms_of(second))
            await self._pipeline.publish([*(record(number, second) for number in moving), *late])
            self.added_ms = ms_of(second)
            await asyncio.sleep(TICK_S)

    def newest_ms(self) -> dict[str, int]:
        """Return the newest timestamp of each device, whether it is in the stream yet or not."""
        return {device: timestamps[-1] for device, timestamps in self.published.items() if timestamps}

    def has_missed(self, device: str, last_ms: int) -> bool:
        """Tell whether the stream has a position that is newer than the last one shown."""
        return any(last_ms < ts_ms <= self.added_ms for ts_ms in self.published[device])


class Mover:
    """A spectator who stays nowhere for long, and mostly goes on from its cursor.

    Attributes:
        visits: What it was shown, for each connection.
        wrong: What came a second time, and what was left out while it was away.
        resumed: How often it went on from its cursor.
    """

    def __init__(self, spectators: Spectators, race: Race, seed: int) -> None:
        self.visits: list[Shown] = []
        self.wrong: list[str] = []
        self.resumed = 0
        self._spectators = spectators
        self._race = race
        self._random = random.Random(seed)
        self._cursor = ""
        self._last_ms: dict[str, int] = defaultdict(int)

    async def move_about(self, workers: list[WorkerProcess]) -> None:
        """Go from worker to worker until the race has ended for every device, and at least two visits went on."""
        while self.resumed < 2 or any(self._last_ms[device] < ms_of(LAST) for device in DEVICES):
            stay_s = self._random.uniform(0.1, 2)
            # Some do not even wait for an answer.
            patience_s = stay_s if self._random.random() < 0.2 else None
            try:
                async with asyncio.timeout(patience_s):
                    await self._visit(self._random.choice(workers), stay_s)
            except (TimeoutError, TypeError, aiohttp.ClientError):
                # It leaves, or the worker is gone: aiohttp calls a close frame instead of a text a TypeError.
                await asyncio.sleep(self._random.choice([0, TICK_S]))

    async def _visit(self, worker: WorkerProcess, stay_s: float) -> None:
        shown = Shown()
        more = {"since": self._cursor} if self._cursor and self._random.random() < 0.8 else {}
        async with self._spectators.connect(worker) as client:
            missed = [device for device in DEVICES if self._race.has_missed(device, self._last_ms[device])]
            frame = await client.subscribe(self._spectators.event_id, **more)
            newest_ms = self._race.newest_ms()
            resumed = "resumed" in frame
            self.resumed += resumed
            # What it missed comes as one position of each device, before those that are published from now on.
            due_ms = {device: newest_ms[device] for device in missed} if resumed else {}
            self.visits.append(shown)
            async with asyncio.timeout(stay_s):
                while True:
                    shown.note(frame)
                    for position in frame.get("snapshot", [frame]):
                        device, ts_ms = position["deviceId"], position["ts"]
                        if ts_ms > due_ms.pop(device, ts_ms) or (resumed and ts_ms <= self._last_ms[device]):
                            self.wrong.append(f"{device}: {ts_ms} after {self._last_ms[device]}")
                        self._last_ms[device] = max(self._last_ms[device], ts_ms)
                    self._cursor = frame["cursor"]
                    frame = await client.receive()


@pytest.mark.timeout(240)
async def test_nothing_is_repeated_or_missed_on_the_way(
    pipeline: Pipeline, spectators: Spectators, start_both: StartWorker
) -> None:
    """Wherever a spectator goes on, it is shown the newest of what it missed, and from there on all, once."""
    workers = [start_both(), start_both()]
    for worker in workers:
        await worker.wait_ready()

    async def disturb() -> None:
        """Take both workers away, one after the other and each in its own way, and put new ones in their place."""
        await asyncio.sleep(2)
        workers[0].kill()
        workers[0] = start_both()
        await workers[0].wait_ready()
        await workers[1].stop()
        workers[1] = start_both()
        await workers[1].wait_ready()

    race = Race(pipeline)
    movers = [Mover(spectators, race, seed) for seed in range(20)]
    async with asyncio.timeout(180):
        await asyncio.gather(race.run(), disturb(), *(mover.move_about(workers) for mover in movers))
    assert [wrong for mover in movers for wrong in mover.wrong] == []
    assert [fault for mover in movers for shown in mover.visits for fault in shown.faults(race.published)] == []
    assert sum(mover.resumed for mover in movers) > len(movers)
