"""Batch frames: what a subscription with `batch` is sent, beside those without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse

from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.wire.encoding import Body, Form, encoded
from tests.app.live.directus.rights import EIGHT, SEVEN, TOPIC_7, TOPIC_8
from tests.app.live.harness import LiveFactory, Side, ask, publish, race_ms, receive
from tests.app.live.records import live_position
from tests.app.live.sightings import positions_of

DEVICES = ["a", "b", "c"]


async def subscribe(side: Side, topic: str = TOPIC_7, **options: Any) -> tuple[ClientWebSocketResponse, dict[str, Any]]:
    socket = await side.connect()
    return socket, await ask(socket, type="subscribe", topic=topic, **options)


async def publish_round(side: Side, *given: tuple[str, int]) -> None:
    """Publish positions so that they are read together, and sent in one round."""
    async with side.redis.pipeline(transaction=True) as together:
        for device, ts_ms in given:
            await publish(together, side.stream, device, ts_ms)
        await together.execute()


async def test_a_round_is_one_frame(live: LiveFactory) -> None:
    """All positions of a round come in one frame, in order; who did not ask for it gets each alone, as ever."""
    async with live(devices={SEVEN: DEVICES}) as side:
        ts = race_ms()
        batched, answer = await subscribe(side, batch=True, id=1)
        assert answer == {
            "type": "subscribed",
            "topic": TOPIC_7,
            "snapshot": [],
            "cursor": answer["cursor"],
            "id": 1,
            "batch": True,
        }
        each, answer = await subscribe(side)
        assert "batch" not in answer
        await publish_round(side, ("a", ts), ("b", ts), ("nobody's", ts), ("a", ts - 1), ("a", ts + 1))
        singles = [await receive(each) for _ in range(3)]
        assert await receive(batched) == {
            "type": "positions",
            "topic": TOPIC_7,
            "cursor": singles[-1]["cursor"],
            "positions": [
                {name: value for name, value in frame.items() if name not in {"type", "topic", "cursor"}}
                for frame in singles
            ],
        }
        assert [(frame["deviceId"], frame["ts"]) for frame in singles] == [("a", ts), ("b", ts), ("a", ts + 1)]
        assert side.observed.counts["sent"] == 6


async def test_newcomers_share_the_bytes_of_the_others(live: LiveFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round is encoded for a client alone only where something has to be held back from it, and from nobody else."""
    alone: list[object] = []

    def counted(form: Form, topic: str, bodies: Sequence[Body], mark: str | None) -> bytes:
        alone.append(bodies)
        return encoded(form, topic, bodies, mark)

    monkeypatch.setattr("telemetry_app.live.delivery.turns.encoded", counted)
    async with live(devices={SEVEN: DEVICES}) as side:
        other, _ = await subscribe(side, batch=True)
        # The database is ahead of this worker: what it has may yet pass.
        ts = race_ms()
        side.stored.store(live_position("a", ts))
        monkeypatch.setattr(side.live.requests.fan_out, "_caught_up_at", lambda: float("-inf"))
        socket, _ = await subscribe(side, batch=True)
        await publish_round(side, ("b", ts), ("c", ts))
        assert [len((await receive(one))["positions"]) for one in (other, socket)] == [2, 2]
        assert alone == []
        await publish_round(side, ("a", ts), ("b", ts + 1))
        assert [position["deviceId"] for position in (await receive(socket))["positions"]] == ["b"]
        assert [position["deviceId"] for position in (await receive(other))["positions"]] == ["a", "b"]
        assert len(alone) == 1


async def test_one_connection_may_have_both(live: LiveFactory) -> None:
    """`batch` belongs to a subscription, and one that is asked for again takes the form asked for last."""
    async with live(devices={SEVEN: DEVICES, EIGHT: DEVICES}) as side:
        socket, _ = await subscribe(side, batch=True)
        await ask(socket, type="subscribe", topic=TOPIC_8)
        await side.publish("a", race_ms())
        types = {frame["topic"]: frame["type"] for frame in [await receive(socket), await receive(socket)]}
        assert types == {TOPIC_7: "positions", TOPIC_8: "position"}
        assert (await ask(socket, type="unsubscribe", topic=TOPIC_8))["type"] == "unsubscribed"
        await ask(socket, type="subscribe", topic=TOPIC_7, batch=False)
        await receive(socket)  # not stored yet, so it follows the snapshot
        await side.publish("b", race_ms())
        assert (await receive(socket))["type"] == "position"


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("batch", [False, True])
async def test_resuming_with_the_cursor_of_a_batch(live: LiveFactory, partitions: int, *, batch: bool) -> None:
    """Its cursor stands behind all of its positions: whoever resumes is given what came after them, and no more."""
    async with live(devices={SEVEN: DEVICES}, partitions=partitions) as side:
        ts = race_ms()
        socket, _ = await subscribe(side, batch=True)
        for device in ("a", "b"):
            await side.publish(device, ts)
        seen: list[str] = []
        while len(seen) < 2:
            frame = await receive(socket)
            seen += [position["deviceId"] for position in frame["positions"]]
        await socket.close()
        for device in ("b", "c"):
            await side.publish(device, ts + 1)
            # Of several streams that are read together, the order would be that of the partitions.
            await side.idle()
        socket, answer = await subscribe(side, batch=batch, since=frame["cursor"])
        assert (answer["resumed"], answer.get("batch", False), answer["snapshot"]) == (True, batch, [])
        frames = [await receive(socket) for _ in range(1 if batch else 2)]
        missed = [position for frame in frames for position in positions_of(frame)]
        assert [(position["deviceId"], position["ts"]) for position in missed] == [("b", ts + 1), ("c", ts + 1)]
        await socket.close()
        socket, answer = await subscribe(side, since=frames[-1]["cursor"])
        assert answer["resumed"] is True
        await side.publish("a", ts + 2)
        assert (await receive(socket))["ts"] == ts + 2


async def test_what_is_not_stored_follows_the_snapshot_in_one_frame(live: LiveFactory) -> None:
    """Behind the snapshot come the positions that the database does not have yet, as one batch."""
    async with live(devices={SEVEN: DEVICES}) as side:
        ts = race_ms()
        side.stored.store(live_position("a", ts - 1000))
        for device in ("a", "b"):
            await side.publish(device, ts)
        await side.idle()
        socket, answer = await subscribe(side, batch=True)
        assert [position["ts"] for position in answer["snapshot"]] == [ts - 1000]
        assert [(position["deviceId"], position["ts"]) for position in (await receive(socket))["positions"]] == [
            ("a", ts),
            ("b", ts),
        ]


async def test_pages_of_a_large_event(live: LiveFactory) -> None:
    """An event too large for one answer is gone on with in batches without a cursor, until all devices are there."""
    devices = [f"d{number}" for number in range(400)]
    limits = LiveLimits(slow_client_bytes=10_000)
    async with live(devices={SEVEN: devices}, limits=limits) as side:
        ts = race_ms()
        for device in devices:
            side.stored.store(live_position(device, ts))
        socket, answer = await subscribe(side, batch=True)
        assert (answer["cursor"], answer["batch"]) == ("", True)
        shown = [position["deviceId"] for position in answer["snapshot"]]
        while len(shown) < len(devices):
            frame = await receive(socket)
            assert (frame["type"], frame["cursor"]) == ("positions", "")
            shown += [position["deviceId"] for position in frame["positions"]]
        assert sorted(shown) == sorted(devices)
        await side.publish("d7", ts + 1)
        assert (await receive(socket))["cursor"]
