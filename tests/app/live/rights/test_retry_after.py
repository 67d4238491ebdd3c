"""How long Directus is left alone after it asked for that."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from telemetry_app.live.rights.directus import Answer, Unavailable
from tests.app.live.directus import faults
from tests.app.live.directus.client import ADDRESS, ask, client_of, session
from tests.app.live.directus.stand_in import DirectusStandIn


class Clock:
    """The time for `retry_after`, which a test moves on."""

    time = staticmethod(time.time)

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("telemetry_app.live.rights.retry_after.time", clock)
    return clock


async def test_too_many_requests(stand_in: DirectusStandIn, clock: Clock) -> None:
    """After a 429 its address is left alone for as long as it says, and only that one."""
    cookies = [await session(stand_in) for _ in range(3)]
    stand_in.fault, stand_in.fault_for = faults.too_many_requests("600"), ADDRESS
    async with client_of(stand_in.url) as client:
        assert await ask(client, cookies[0]) == Unavailable("status 429", 600.0)
        stand_in.fault = None
        held = await ask(client, cookies[1])
        other = await ask(client, cookies[2], address="198.51.100.1")

        assert isinstance(held, Unavailable)
        assert held.retry_after_s is not None
        assert 0 < held.retry_after_s <= 600
        assert isinstance(other, Answer)
        assert len(stand_in.asked) == 2
        clock.ahead_s = 600
        assert isinstance(await ask(client, cookies[0]), Answer)


async def test_under_pressure(stand_in: DirectusStandIn, clock: Clock) -> None:
    """After a 503 nobody asks for as long as it says; what was answered before still serves."""
    cookies = [await session(stand_in) for _ in range(3)]
    async with client_of(stand_in.url) as client:
        before = await ask(client, cookies[0])
        stand_in.fault = faults.under_pressure("600")
        assert await ask(client, cookies[1]) == Unavailable("status 503", 600.0)
        stand_in.fault = None
        held = await ask(client, cookies[2], address="198.51.100.1")

        assert isinstance(held, Unavailable)
        assert await ask(client, cookies[0]) is before
        assert len(stand_in.asked) == 2
        clock.ahead_s = 600
        assert isinstance(await ask(client, cookies[2]), Answer)


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [
        ("120", 120, 120),
        (formatdate(4_000_000_000, usegmt=True), 3600, 3600),
        ("99999999999999999999", 3600, 3600),
        ("0", 0, 0),
        (formatdate(1_000_000_000, usegmt=True), 0, 0),
    ],
)
async def test_retry_after(stand_in: DirectusStandIn, header: str, least_s: float, most_s: float) -> None:
    """Retry-After is seconds or a date, and is believed up to an hour."""
    stand_in.fault = faults.under_pressure(header)
    async with client_of(stand_in.url) as client:
        answer = await ask(client, "a=1")

    assert isinstance(answer, Unavailable)
    assert answer.retry_after_s is not None
    assert least_s <= answer.retry_after_s <= most_s


@pytest.mark.parametrize("header", ["soon", "-1", "1.5", "²", ""])
async def test_retry_after_that_says_nothing(stand_in: DirectusStandIn, header: str) -> None:
    """A Retry-After that cannot be understood holds nobody off."""
    stand_in.fault = faults.under_pressure(header)
    async with client_of(stand_in.url) as client:
        assert await ask(client, "a=1") == Unavailable("status 503")
        stand_in.fault = None
        assert isinstance(await ask(client, "a=1"), Answer)
