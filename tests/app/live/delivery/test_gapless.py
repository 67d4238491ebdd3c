"""Subscribing while everything moves: no gap, no double, no step back."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from tests.app.live.harness import Side, live_side, race_ms, receive
from tests.app.live.records import live_position
from tests.app.live.sightings import Shown
from tests.support.waiting import eventually

CLIENTS = 200
ROUNDS = 25
DEVICES = [f"d{number}" for number in range(20)]


class Race:
    """Publishes positions and late uploads, and stores them some time later, as the durable side does."""

    def __init__(self, side: Side, seed: int) -> None:
        self.side = side
        self.random = random.Random(seed)
        self.published: dict[str, list[int]] = defaultdict(list)
        self.start_ms = race_ms()
        self.running = True

    async def step(self, second: int) -> None:
        """Publish a position of each device, and now and then one that is late, or the same again."""
        for device in DEVICES:
            ts_ms = self.start_ms + second * 1000
            await self.publish(device, ts_ms)
            self.published[device].append(ts_ms)
            if self.random.random() < 0.2:
                await self.publish(device, ts_ms - self.random.choice([0, 500, 20_500]))

    async def publish(self, device: str, ts_ms: int) -> None:
        await self.side.publish(device, ts_ms)
        delay_s = self.random.uniform(0, 0.15)
        asyncio.get_running_loop().call_later(delay_s, self.side.stored.store, live_position(device, ts_ms))

    async def run(self) -> None:
        for second in range(ROUNDS):
            await self.step(second)
            await asyncio.sleep(0.04)
        await self.step(ROUNDS)


class Watcher:
    """A client that writes down what it is shown.

    Args:
        race: What it watches.
        number: Of two, one gets batches; of two of these, one compressed.
    """

    def __init__(self, race: Race, number: int) -> None:
        self.race = race
        self.batch = bool(number & 1)
        self.window_bits = 15 if number & 2 else 0
        self.shown = Shown()

    async def watch(self, after_s: float) -> None:
        """Subscribe after some time and read until the race has ended for every device."""
        await asyncio.sleep(after_s)
        socket = await self.race.side.connect(compress=self.window_bits)
        await socket.send_json({"type": "subscribe", "topic": "event:7", "batch": self.batch})
        last_ms = self.race.start_ms + ROUNDS * 1000
        while not self.shown.has_reached(last_ms, DEVICES):
            self.shown.note(await receive(socket))


@pytest.mark.parametrize(
    ("slowest_s", "partitions", "first_page"),
    [
        pytest.param(0.0, 1, 20, id="broadcast ahead of the database"),
        pytest.param(0.3, 1, 20, id="database ahead of the broadcast"),
        pytest.param(0.05, 3, 20, id="several partitions"),
        pytest.param(0.0, 1, 5, id="pages, broadcast ahead"),
        pytest.param(0.3, 3, 5, id="pages, database ahead"),
    ],
)
async def test_no_client_misses_or_repeats_a_position(
    redis_url: str, stream: str, monkeypatch: pytest.MonkeyPatch, slowest_s: float, partitions: int, first_page: int
) -> None:
    """Hundreds of clients that subscribe while positions stream by each see every position once, in order."""
    limit = LiveLimits().slow_client_bytes
    monkeypatch.setattr("telemetry_app.live.delivery.opening._POSITION_BYTES", limit // first_page)
    monkeypatch.setattr("telemetry_app.live.delivery.opening._FRAME_BYTES", limit)
    chance = random.Random(3)
    async with live_side(
        redis_url,
        stream,
        devices={"7": DEVICES},
        partitions=partitions,
        delay_s=lambda: chance.uniform(0, slowest_s),
    ) as side:
        race = Race(side, seed=4)
        watchers = [Watcher(race, number) for number in range(CLIENTS)]
        async with asyncio.timeout(90):
            await asyncio.gather(race.run(), *(watcher.watch(chance.uniform(0, 1.2)) for watcher in watchers))
        assert [fault for watcher in watchers for fault in watcher.shown.faults(race.published)] == []
        assert side.observed.counts["late"] > 0
        # A burst of clients costs a few reads of the database, not one for each and page.
        assert side.stored.reads < CLIENTS * (1 + len(DEVICES) - first_page)
        await eventually(lambda: not side.live.requests.fan_out._gated, message="every gate is taken away")
