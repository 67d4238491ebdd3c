"""When clients are asked for signs of life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from telemetry_app.live.clients.connection import Connection
from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.delivery.housekeeping import Housekeeper
from tests.app.live.directus.rights import SEVEN
from tests.app.live.harness import LiveFactory
from tests.app.live.rawsocket import RawClient
from tests.support.waiting import eventually

#: No rights, whose checks are looked at too.
LIMITS = LiveLimits(reauthorize_s=0, ping_s=25.0, silence_s=60.0)


class Looked:
    """A client that is looked at.

    Attributes:
        housekeeper: Who looks at it.
        connection: Its.
    """

    def __init__(self, housekeeper: Housekeeper, connection: Connection) -> None:
        self.housekeeper = housekeeper
        self.connection = connection
        self.now = asyncio.get_running_loop().time()

    def was(self, *, heard_s: float, pinged_s: float) -> None:
        """Have it heard and pinged so many seconds ago."""
        self.connection.heard_at, self.connection.pinged_at = self.now - heard_s, self.now - pinged_s


@pytest.fixture
async def looked(live: LiveFactory) -> AsyncIterator[Looked]:
    async with live(devices={SEVEN: ["a"]}, limits=LIMITS) as side:
        client = await RawClient.connect(side.port, side.cookie)
        (connection,) = side.live.registry.connections
        yield Looked(side.live._housekeeper, connection)
        client.close()


@pytest.mark.parametrize(
    ("heard_s", "pinged_s", "is_pinged"),
    [(26, 26, True), (23, 23, True), (22, 22, False), (22, 50, False), (50, 22, False), (50, 23, True)],
)
async def test_pings(looked: Looked, heard_s: float, pinged_s: float, *, is_pinged: bool) -> None:
    """A client is pinged when it was neither heard nor pinged for nine tenths of the interval."""
    looked.was(heard_s=heard_s, pinged_s=pinged_s)
    before = looked.connection.pinged_at
    looked.housekeeper._look_for_life(looked.connection, looked.now)
    assert (looked.connection.pinged_at > before) == is_pinged
    assert not looked.connection.closing


async def test_silence(looked: Looked) -> None:
    """A client that was not heard for too long is cut off, however often it was pinged."""
    looked.was(heard_s=60, pinged_s=1)
    looked.housekeeper._look_for_life(looked.connection, looked.now)
    assert looked.connection.closing


@pytest.mark.parametrize(
    ("heard_s", "pinged_s", "least_s", "most_s"),
    [
        pytest.param(0, 0, 22.5, 25, id="heard"),
        pytest.param(30, 5, 17.5, 20, id="pinged"),
        pytest.param(50, 1, 10, 10, id="silent"),
        # A ping that is due may have to wait.
        pytest.param(40, 40, 0.5, 0.5, id="due"),
    ],
)
async def test_the_next_look(looked: Looked, heard_s: float, pinged_s: float, least_s: float, most_s: float) -> None:
    """It is when the next ping is due, up to a tenth early, or when the client has been silent for too long."""
    looked.was(heard_s=heard_s, pinged_s=pinged_s)
    looks_s = [looked.housekeeper._next_look(looked.connection, looked.now) - looked.now for _ in range(100)]
    assert min(looks_s) >= least_s - 1e-6
    assert max(looks_s) <= most_s + 1e-6
    assert max(looks_s) - min(looks_s) >= (most_s - least_s) / 2


async def test_who_has_left_is_forgotten(live: LiveFactory) -> None:
    """Nothing is kept of a client for longer than until it would have been pinged."""
    async with live(devices={SEVEN: ["a"]}, limits=LiveLimits(reauthorize_s=0, ping_s=0.5)) as side:
        client = await RawClient.connect(side.port, side.cookie)
        entries = side.live._housekeeper._agenda._entries
        await eventually(lambda: len(entries) == 1, message="it is looked after")
        client.close()
        await eventually(lambda: not entries, message="it is forgotten")
