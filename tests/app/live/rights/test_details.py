import asyncio
import json
from collections.abc import Collection
from typing import Any

import pytest

from telemetry_app.live.ports import Credentials
from telemetry_app.live.rights.details import DirectusDetails
from telemetry_app.live.rights.directus import MAX_BODY_BYTES
from telemetry_app.live.wire.course import fit_course
from telemetry_app.live.wire.texts import MAX_TEXT
from tests.app.live.directus import faults
from tests.app.live.directus.client import ADDRESS, TIMEOUT_S, client_of, patience_s
from tests.app.live.directus.stand_in import DirectusServer, DirectusStandIn, Fault

FIELDS = ("name", "number", "class", "color")
PATH = "/items/entries"
EVENT = "77777777-7777-4777-8777-777777777777"


async def session(directus: DirectusServer, fields: Collection[str]) -> Credentials:
    """Return a new session that may read these fields of entries."""
    user = await directus.add_user()
    await directus.allow_entries(user, fields)
    return Credentials(await directus.login(user), ADDRESS)


async def entries(
    directus: DirectusServer,
    credentials: Credentials,
    event_id: str = EVENT,
    fields: tuple[str, ...] = FIELDS,
    timeout_s: float = TIMEOUT_S,
) -> Any:
    async with client_of(directus.url, timeout_s=timeout_s, cache_s=0) as client:
        return await DirectusDetails(client, fields, None).entries(event_id, credentials, 1)


async def test_entries_of_an_event(directus: DirectusServer) -> None:
    """Entries are told with the fields that are wanted, those of other events and empty fields are not."""
    event, other = await directus.add_event("race"), await directus.add_event("other")
    ana = await directus.add_entry(event, name="Ana", number=7, color="#e4002b")
    bo = await directus.add_entry(event, number=8)
    await directus.add_entry(other, name="Cy")
    await directus.add_entry(event)
    mine = await session(directus, ("id", "event_id", "name", "number", "color"))

    assert await entries(directus, mine, event, ("name", "number", "color")) == {
        ana: {"name": "Ana", "number": 7, "color": "#e4002b"},
        bo: {"number": 8},
    }


async def test_fields_that_may_not_be_read_are_left_out(directus: DirectusServer) -> None:
    """So are those that the collection lacks, though Directus refuses a question that names one of them."""
    event = await directus.add_event("race")
    ana = await directus.add_entry(event, name="Ana", number=7, color="#e4002b")

    assert await entries(directus, await session(directus, ("id", "event_id", "name", "number")), event) == {
        ana: {"name": "Ana", "number": 7}
    }


@pytest.mark.parametrize(
    "readable",
    [
        pytest.param((), id="nothing"),
        pytest.param(("id", "event_id"), id="none-that-is-shown"),
        pytest.param(("id", "name"), id="not-which-event"),
        pytest.param(("event_id", "name"), id="not-the-id"),
    ],
)
async def test_without_rights_nothing_is_told(directus: DirectusServer, readable: Collection[str]) -> None:
    """Whoever may not read entries, or not tell which they are, is told of none, without an error."""
    event = await directus.add_event("race")
    await directus.add_entry(event, name="Ana", number=7, color="#e4002b")

    assert await entries(directus, await session(directus, readable), event) == {}


async def test_one_question_for_a_crowd(stand_in: DirectusStandIn) -> None:
    """Clients with the same session share one question for each event; three when there is a field to leave out."""
    event = await stand_in.add_event("race")
    await stand_in.add_entry(event, name="Ana")
    readable = ("id", "event_id", "name", "number", "color")
    all_fields, some_fields = await session(stand_in, (*readable, "class")), await session(stand_in, readable)
    asked = []
    async with client_of(stand_in.url) as client:
        for credentials, fields in ((all_fields, FIELDS[:2]), (some_fields, FIELDS)):
            details = DirectusDetails(client, fields, None)
            answers = await asyncio.gather(*(details.entries(event, credentials, 1) for _ in range(50)))
            assert [list((answer or {}).values()) for answer in answers] == [[{"name": "Ana"}]] * 50
            asked.append(stand_in.count(PATH))

    assert asked == [1, 4]


async def test_nobody_is_asked_for_nothing(stand_in: DirectusStandIn) -> None:
    """Without a session, or without fields to show, Directus is not asked."""
    assert await entries(stand_in, Credentials(None, ADDRESS)) == {}
    assert await entries(stand_in, await session(stand_in, ("id",)), fields=()) == {}
    assert stand_in.asked == []


def items(*rows: object) -> Fault:
    return faults.body(json.dumps({"data": rows}).encode())


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.broken, id="500"),
        pytest.param(faults.silence, id="silence"),
        pytest.param(faults.cut, id="cut"),
        pytest.param(faults.endless, id="endless"),
        pytest.param(faults.too_many_requests("2"), id="429"),
        pytest.param(faults.body(b"<html>"), id="garbage"),
        pytest.param(faults.body(b'{"data":{"id":1}}'), id="no-list"),
    ],
)
async def test_failures(stand_in: DirectusStandIn, fault: Fault) -> None:
    """When Directus cannot be asked, that is known, and nothing raises."""
    stand_in.fault = fault

    assert await entries(stand_in, Credentials("a=1", ADDRESS), timeout_s=patience_s(fault)) is None


@pytest.mark.parametrize(
    "fault",
    [
        items(),
        items({"id": 1, "name": None}, {"id": 2, "name": ["x"], "number": {"a": 1}, "class": True}),
        faults.body(b'{"data":[{"id":1,"number":NaN,"class":1e999,"color":123456789012345678901}]}'),
        items("a", None, ["id"], {"name": "Ana"}, {"id": None, "name": "Ana"}, {"id": {}, "name": "Ana"}),
        faults.body(b'{"data":[{"id":1,"name":"\\ud800"}]}'),
    ],
    ids=["none", "empty", "numbers", "no-items", "no-text"],
)
async def test_nothing_that_can_be_shown(stand_in: DirectusStandIn, fault: Fault) -> None:
    """Entries without a field that can be shown are not told of."""
    stand_in.fault = fault

    assert await entries(stand_in, Credentials("a=1", ADDRESS)) == {}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"1" + b"0" * 400 + b".5", id="number"),
        pytest.param(b"-1" + b"0" * 5000, id="integer"),
        pytest.param(b"[" * 5000 + b"]" * 5000, id="lists"),
        pytest.param(b'{"a":' * 5000 + b'"\\"]"' + b"}" * 5000, id="objects"),
        pytest.param(b"true", id="boolean"),
        pytest.param(b"NaN", id="NaN"),
    ],
)
async def test_an_odd_field_alone_is_left_out(
    stand_in: DirectusStandIn, caplog: pytest.LogCaptureFixture, value: bytes
) -> None:
    """The other fields and entries are shown, and one line of the log names the field, an entry and the reason."""
    rows = b'{"id":1,"name":"Ana","number":%b,"class":"\\ud800x"},{"id":2,"number":8},{"id":3,"number":%b}'
    stand_in.fault = faults.body(b'{"data":[%b],"more":%b}' % (rows % (value, value), value))
    shown = {"1": {"name": "Ana", "class": "x"}, "2": {"number": 8}}
    credentials = Credentials("a=1", ADDRESS)
    async with client_of(stand_in.url, cache_s=0) as client:
        details = DirectusDetails(client, FIELDS, None)
        assert [await details.entries(EVENT, credentials, 1) for _ in range(2)] == [shown, shown]
    [line] = caplog.messages
    assert line.startswith(f"event '{EVENT}': field 'number' of entry '1' and 1 more is not shown: it is ")


async def test_what_is_left_out_does_not_fill_the_log(
    stand_in: DirectusStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    """However many events have something odd, a bounded number of lines is logged."""
    stand_in.fault = items(*[{"id": number, "name": True, "number": ["x"] * number} for number in range(100)])
    async with client_of(stand_in.url, cache_s=0) as client:
        details = DirectusDetails(client, FIELDS, None)
        for event in range(120):
            assert await details.entries(str(event), Credentials("a=1", ADDRESS), 1) == {}
    assert len(caplog.messages) == 100


async def test_texts_are_made_fit(stand_in: DirectusStandIn) -> None:
    """A text is cut to its bound and put on one line, without what does not show or turns its direction."""
    stand_in.fault = items(
        {
            "id": 1,
            "name": " \u202eAna\x00\n\tB. ",
            "number": "x" * MAX_BODY_BYTES,
            "class": "👩\u200d🚀",
            "color": "\u200b",
        },
        {"id": 2, "number": 7.5},
    )

    assert await entries(stand_in, Credentials("a=1", ADDRESS)) == {
        "1": {"name": "Ana B.", "number": "x" * MAX_TEXT, "class": "👩\u200d🚀"},
        "2": {"number": 7.5},
    }


@pytest.mark.parametrize("event_id", ['"},"x":{"_eq":"', "&limit=0", "?#", "ä ö", "%", "\\"])
async def test_ids_are_encoded(stand_in: DirectusStandIn, event_id: str) -> None:
    """Whatever an event's id holds, the question is about that event."""
    ana = await stand_in.add_entry(event_id, name="Ana")

    assert await entries(stand_in, await session(stand_in, ("id", "event_id", "name")), event_id, ("name",)) == {
        ana: {"name": "Ana"}
    }


LINE = {"type": "LineString", "coordinates": [[21.4, 42.2], [21.5, 42.1]]}


async def course(directus: DirectusServer, credentials: Credentials, event_id: str = EVENT) -> bytes | None:
    async with client_of(directus.url, cache_s=0) as client:
        return await DirectusDetails(client, (), "course").course(event_id, credentials)


async def test_course(directus: DirectusServer) -> None:
    """The course is what the event's field holds, for those who may read the field; else there is none."""
    event, other = await directus.add_event("race", course=LINE), await directus.add_event("other")
    told = []
    for fields in (("id", "course"), ("id",)):
        user = await directus.add_user()
        await directus.allow(user, [event, other], fields)
        credentials = Credentials(await directus.login(user), ADDRESS)
        told.append([await course(directus, credentials, event_id) for event_id in (event, other)])

    assert told == [[fit_course(LINE), None], [None, None]]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.broken, id="500"),
        pytest.param(faults.cut, id="cut"),
        pytest.param(faults.endless, id="endless"),
        pytest.param(faults.body(b'{"data":[]}'), id="list"),
        pytest.param(faults.body(b'{"data":{}}'), id="empty"),
        pytest.param(faults.body(b'{"data":{"course":"<gpx>"}}'), id="text"),
        pytest.param(faults.body(b'{"data":{"course":' + b'{"geometries":[' * 90 + b"]}" * 90 + b"}}"), id="nested"),
    ],
)
async def test_course_failures(stand_in: DirectusStandIn, fault: Fault) -> None:
    """When Directus cannot be asked, or the field holds something else, there is no course, and nothing raises."""
    stand_in.fault = fault

    assert await course(stand_in, Credentials("a=1", ADDRESS)) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(b'{"type":[]}', "there is no line", id="type"),
        pytest.param(b'{"type":{}}', "there is no line", id="object"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", "it cannot be read as JSON", id="integer"),
        pytest.param(b"[" * 5000 + b"]" * 5000, "", id="lists"),  # how deep a reader goes is up to the Python
        pytest.param(b'"\\ud800"', "the answer of Directus cannot be read", id="surrogate"),
        pytest.param(b"[" + b"[1,2]," * 200_000 + b"[1,2]]", "it has at least 200002 points", id="points"),
    ],
)
async def test_a_course_that_cannot_be_shown_is_logged(
    stand_in: DirectusStandIn, caplog: pytest.LogCaptureFixture, value: bytes, reason: str
) -> None:
    """There is none then, and a line of the log says why."""
    stand_in.fault = faults.body(b'{"data":{"course":%b}}' % value)

    assert await course(stand_in, Credentials("a=1", ADDRESS)) is None
    [line] = caplog.messages
    assert line.startswith(f"event '{EVENT}': the course is not shown: {reason}")


async def test_a_course_is_not_asked_for_in_vain(stand_in: DirectusStandIn) -> None:
    """Without a session, or without a field for courses, Directus is not asked."""
    assert await course(stand_in, Credentials(None, ADDRESS)) is None
    async with client_of(stand_in.url) as client:
        assert await DirectusDetails(client, (), None).course(EVENT, await session(stand_in, ())) is None
    assert stand_in.asked == []
