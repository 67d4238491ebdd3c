"""Trackers whose clocks are wrong: what is shown is decided by the order of appends where timestamps cannot be true."""

import pytest

from tests.app.live.directus.rights import SEVEN, TOPIC_7
from tests.app.live.harness import LiveFactory, ask, now_ms, receive

DEVICES = {SEVEN: ["a", "b"]}
HOURS_23 = 23 * 3600


@pytest.fixture(autouse=True)
def everything_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has passed is remembered for as long as a test takes, however busy the machine is."""
    for module in ("side", "positions.gather", "positions.history"):
        monkeypatch.setattr(f"telemetry_app.live.{module}.KEPT_S", 600.0)


@pytest.mark.parametrize("partitions", [1, 3])
async def test_one_record_far_ahead_freezes_nothing(live: LiveFactory, partitions: int) -> None:
    """It is not shown: not live, not to who comes later or comes back, not after a restart; what follows it is."""
    async with live(devices=DEVICES, partitions=partitions) as side:
        socket = await side.connect()
        await ask(socket, type="subscribe", topic=TOPIC_7)
        await side.publish("a", now_ms() - 1000, lat=1)
        first = await receive(socket)
        await side.publish("a", now_ms() + HOURS_23 * 1000, lat=2)
        await side.idle()
        for options in ({}, {"since": first["cursor"]}):
            newcomer = await side.connect()
            assert (await ask(newcomer, type="subscribe", topic=TOPIC_7, **options))["snapshot"] == []
            if not options:
                assert (await receive(newcomer))["lat"] == 1
            await side.publish("a", now_ms(), lat=3)
            assert [(await receive(s))["lat"] for s in (socket, newcomer)] == [3, 3]
    async with live(devices=DEVICES, partitions=partitions, instance_id="again") as side:
        newcomer = await side.connect()
        await ask(newcomer, type="subscribe", topic=TOPIC_7)
        assert [(await receive(newcomer))["lat"] for _ in range(3)] == [1, 3, 3]


@pytest.mark.parametrize(("ahead_s", "lats"), [(299, [1, 2]), (301, [2])])
async def test_a_clock_that_is_set_right_is_followed_with_the_next_record(
    live: LiveFactory, ahead_s: int, lats: list[int]
) -> None:
    """Also after one that was ahead, yet near enough to be shown."""
    async with live(devices=DEVICES) as side:
        socket = await side.connect()
        await ask(socket, type="subscribe", topic=TOPIC_7)
        appended_ms = now_ms()
        await side.publish("a", appended_ms + ahead_s * 1000, appended_ms=appended_ms, lat=1)
        await side.publish("a", appended_ms + 10, appended_ms=appended_ms + 10, lat=2)
        await side.publish("b", now_ms(), lat=9)
        frames = [await receive(socket) for _ in range(len(lats) + 1)]
        late = side.observed.counts["late"]
    assert ([frame["lat"] for frame in frames], late) == ([*lats, 9], 0)


async def test_a_clock_that_is_always_ahead_moves_on(live: LiveFactory) -> None:
    """Each record is newer than the one before, who comes later sees the last one; what was stored up is late."""
    async with live(devices=DEVICES) as side:
        socket = await side.connect()
        await ask(socket, type="subscribe", topic=TOPIC_7)
        for lat in range(1, 5):
            await side.publish("a", now_ms() + 200_000 + lat, lat=lat)
        await side.publish("a", now_ms() - 60_000, lat=80)
        await side.publish("b", now_ms(), lat=9)
        assert [(await receive(socket))["lat"] for _ in range(5)] == [1, 2, 3, 4, 9]
        newcomer = await side.connect()
        await ask(newcomer, type="subscribe", topic=TOPIC_7)
        shown = [await receive(newcomer) for _ in range(5)]
        assert [frame["lat"] for frame in shown][-2:] == [4, 9]


async def test_null_island_is_not_shown(live: LiveFactory) -> None:
    """A receiver without a fix since it was started moves nobody to the Gulf of Guinea."""
    async with live(devices=DEVICES) as side:
        socket = await side.connect()
        await ask(socket, type="subscribe", topic=TOPIC_7)
        await side.publish("a", now_ms(), lat=0, lon=0, satellites=0, speed=1)
        await side.publish("a", now_ms() + 1, lat=0, lon=0, satellites=5, speed=2)
        frame = await receive(socket)
        assert (frame["lat"], frame["lon"], frame["speed"]) == (0, 0, 2)
