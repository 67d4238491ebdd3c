"""Who the devices are, in the answer to a subscribe."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.rights.details import DirectusDetails
from telemetry_app.live.wire.protocol import EntryFields
from tests.app.live.directus.client import client_of
from tests.app.live.directus.rights import SEVEN, TOPIC_7, Spectator
from tests.app.live.directus.stand_in import DirectusServer
from tests.app.live.harness import Details, LiveFactory, Side, Stored, ask, live_side, race_ms, receive
from tests.app.live.records import live_position

ANA: EntryFields = {"name": "Ana", "number": 7}


@contextlib.asynccontextmanager
async def side_with(
    directus: DirectusServer, spectator: Spectator, redis_url: str, stream: str, *, device: str
) -> AsyncIterator[Side]:
    """Start a live side that asks a Directus about entries. A device is entered by the id of its entry."""
    async with (
        client_of(directus.url, cache_s=60) as client,
        live_side(
            redis_url,
            stream,
            devices={SEVEN: [device]},
            rights=spectator,
            details=DirectusDetails(client, ("name", "number"), None),
            limits=LiveLimits(reauthorize_s=0.5),
        ) as side,
    ):
        yield side


@pytest.mark.parametrize("resumes", [False, True])
async def test_entries_are_told_at_subscribe(live: LiveFactory, *, resumes: bool) -> None:
    """The answer has the entry of each device of the event that has one, also when the client comes back."""
    details = Details({"a": ANA, "c": {"name": "of no device"}})
    async with live(devices={SEVEN: ["a", "b"]}, details=details) as side:
        socket = await side.connect()
        answer = await ask(socket, type="subscribe", topic=TOPIC_7)
        if resumes:
            answer = await ask(socket, type="subscribe", topic=TOPIC_7, since=answer["cursor"])
        assert (answer.get("resumed", False), answer["entries"]) == (resumes, {"a": ANA})


async def test_without_entries_the_answer_is_as_before(live: LiveFactory) -> None:
    """Where nothing is told of the devices, there is no such field."""
    async with live(devices={SEVEN: ["a"]}) as side:
        answer = await ask(await side.connect(), type="subscribe", topic=TOPIC_7)
        assert sorted(answer) == ["cursor", "snapshot", "topic", "type"]


async def test_entries_count_for_what_a_client_may_cost(live: LiveFactory) -> None:
    """A large event is told in pages: each page has the entries of its devices, none is larger than the limit."""
    devices = [f"device-{number:05}" for number in range(2000)]
    entries: dict[str, EntryFields] = {device: {"name": device[::-1] * 5} for device in devices}
    stored, limits = Stored(), LiveLimits(slow_client_bytes=100_000)
    for device in devices:
        stored.store(live_position(device, race_ms()))
    async with live(devices={SEVEN: devices}, details=Details(entries), stored=stored, limits=limits) as side:
        socket = await side.connect()
        answer = await ask(socket, type="subscribe", topic=TOPIC_7)
        told, given = answer["entries"], {position["deviceId"] for position in answer["snapshot"]}
        assert told.keys() == given
        while len(given) < len(devices):
            frame = await receive(socket)
            if frame["type"] == "entries":
                assert frame["topic"] == TOPIC_7
                told |= frame["entries"]
            else:
                given.add(frame["deviceId"])
                assert frame["deviceId"] in told
        assert told == entries


async def test_each_is_told_what_directus_shows(
    redis_url: str, stream: str, directus: DirectusServer, spectator: Spectator
) -> None:
    """Two spectators of one event are told what each may see of the entries: the name, or the number."""
    ana = await directus.add_entry(SEVEN, name="Ana", number=7)
    other = await directus.add_user()
    await directus.allow(other, [SEVEN])
    await directus.allow_entries(spectator.user_id, ("id", "event_id", "name"))
    await directus.allow_entries(other, ("id", "event_id", "number"))
    async with side_with(directus, spectator, redis_url, stream, device=ana) as side:
        told = []
        for cookie in (spectator.cookie, await directus.login(other)):
            socket = await side.connect(headers={"Cookie": cookie})
            told.append((await ask(socket, type="subscribe", topic=TOPIC_7))["entries"])
        assert told == [{ana: {"name": "Ana"}}, {ana: {"number": 7}}]


async def test_who_was_entered_since_directus_was_asked_is_named(
    redis_url: str, stream: str, directus: DirectusServer, spectator: Spectator
) -> None:
    """An answer that is kept for a while is not used for devices that were entered after it."""
    ana = await directus.add_entry(SEVEN, name="Ana")
    await directus.allow_entries(spectator.user_id, ("id", "event_id", "name"))
    async with side_with(directus, spectator, redis_url, stream, device=ana) as side:
        early = await side.connect(headers={"Cookie": spectator.cookie})
        assert (await ask(early, type="subscribe", topic=TOPIC_7))["entries"] == {ana: {"name": "Ana"}}
        bo = await directus.add_entry(SEVEN, name="Bo")
        side.entries.change({SEVEN: [ana, bo]})
        late = await side.connect(headers={"Cookie": spectator.cookie})
        assert (await ask(late, type="subscribe", topic=TOPIC_7))["entries"].keys() == {ana, bo}
        assert (await receive(early))["entries"] == {bo: {"name": "Bo"}}


@pytest.mark.parametrize("was_away", [False, True])
async def test_newcomers_are_named(live: LiveFactory, *, was_away: bool) -> None:
    """Of a device that is entered later a client is told when rights are checked again; of all where it was of none."""
    details, bo = Details(None if was_away else {"a": ANA}), EntryFields(name="Bo")
    async with live(devices={SEVEN: ["a"]}, details=details, limits=LiveLimits(reauthorize_s=0.5)) as side:
        socket = await side.connect()
        answer = await ask(socket, type="subscribe", topic=TOPIC_7)
        assert answer.get("entries") == (None if was_away else {"a": ANA})
        details.entries_by_id = {"a": ANA, "b": bo}
        side.entries.change({SEVEN: ["a", "b"]})
        told = await receive(socket)
        assert told == {"type": "entries", "topic": TOPIC_7, "entries": {"a": ANA, "b": bo} if was_away else {"b": bo}}
        side.entries.change({SEVEN: ["a", "b", "c"]})
        await side.publish("c", race_ms())
        assert (await receive(socket))["deviceId"] == "c"
