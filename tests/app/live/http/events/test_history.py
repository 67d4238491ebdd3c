"""Past positions by plain HTTP, from a real database, under rights as Directus knows them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import pytest
from hypothesis import given, strategies as st

from telemetry_app.live.http.events import history
from telemetry_app.live.positions import past
from telemetry_app.live.positions.past import PastPositions
from telemetry_app.live.shared import Shared
from telemetry_app.live.wire.past import MAX_WINDOW_MS, BadWindowError, parse_window
from telemetry_app.records.quality import epoch_ms
from tests.app.core.positions.writing import desk
from tests.app.live.directus.rights import EIGHT, MISSING, SEVEN, Spectator
from tests.app.live.directus.stand_in import DirectusServer
from tests.app.live.harness import LiveFactory, Side, ask, now_ms
from tests.app.live.records import position as live_record
from tests.support.database import pool, session
from tests.support.records import FIRST_TS, position
from tests.support.servers.proxy import TcpProxy
from tests.support.waiting import eventually

FIRST_MS: Final = epoch_ms(FIRST_TS)
DEVICES: Final = {SEVEN: ["a", "b"], EIGHT: ["c"], MISSING: ["d"]}
READS: Final = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%array_agg(ms)%' AND pid <> pg_backend_pid()"


@pytest.fixture
async def url(timescale_table_url: str) -> str:
    """A database with a minute of each device."""
    async with desk(timescale_table_url) as it:
        await it.writer.write([position(n, device_id=d, angle=n) for d in "abcd" for n in range(60)])
    return timescale_table_url


@pytest.fixture
async def side(live: LiveFactory, url: str) -> AsyncIterator[Side]:
    async with reading(live, url) as side:
        yield side


@contextlib.asynccontextmanager
async def reading(live: LiveFactory, url: str, **options: Any) -> AsyncIterator[Side]:
    """Run a live side that reads past positions as a worker does."""
    async with (
        pool(url, writes=False, statement_timeout_ms=120_000) as postgres,
        live(devices=DEVICES, past=PastPositions(postgres), **options) as side,
    ):
        yield side


class Answer(NamedTuple):
    """What was answered; `content` is the JSON, decompressed."""

    status: int
    headers: Any
    content: Any


async def get(side: Side, changes: Mapping[str, Any] = {}, headers: Mapping[str, str] = {}) -> Answer:
    """Ask for the first ten seconds of an event, with changed parameters; `None` leaves one out."""
    asked = {"event": SEVEN, "from": FIRST_MS, "to": FIRST_MS + 10_000, **changes}
    parameters = {name: str(value) for name, value in asked.items() if value is not None}
    sent = {"Cookie": side.cookie, **headers}
    async with side.http.get(f"{side.url}{history.PATH}", params=parameters, headers=sent) as response:
        body = await response.read()
        return Answer(response.status, response.headers, msgspec.json.decode(body) if body else None)


async def test_an_event_by_columns(side: Side) -> None:
    """The devices of the event, each with its positions of the window as columns; times may be written out."""
    ts = [FIRST_MS + 1000 * n for n in range(10)]
    plain = position()
    columns = {"ts": ts, "lat": [plain.latitude] * 10, "lon": [plain.longitude] * 10, "speed": [plain.speed] * 10}
    expected = {
        "event": SEVEN,
        "from": FIRST_MS,
        "to": FIRST_MS + 10_000,
        "step": 0,
        "devices": [{"deviceId": d, **columns, "course": [float(n) for n in range(10)]} for d in "ab"],
    }
    answer = await get(side)
    assert (answer.status, answer.content) == (200, expected)
    written = await get(side, {"from": "2026-05-02T12:00:00Z", "to": "2026-05-02T14:00:10+02:00"})
    assert written.content == expected
    assert side.observed.histories == {"ok": 2}


async def test_a_window_without_positions(side: Side) -> None:
    """Nothing then, or no devices at all, is an answer."""
    empty = await get(side, {"from": FIRST_MS - 5000, "to": FIRST_MS})
    assert (empty.status, empty.content["devices"]) == (200, [])


async def test_rights_are_those_of_a_subscription(side: Side, directus: DirectusServer, spectator: Spectator) -> None:
    """Signed out, forbidden and unknown events are told apart as far as Directus tells them, and nothing is read."""
    assert (await get(side, headers={"Cookie": "theme=dark"})).status == 401
    socket = await side.connect()
    expected = {"forbidden": 403, "not-found": 404}
    for event_id in (MISSING, "no-such-event", ".."):
        frame = await ask(socket, type="subscribe", topic=f"event:{event_id}")
        assert (await get(side, {"event": event_id})).status == expected[frame["code"]]
    assert (await get(side)).status == 200
    await directus.forbid(spectator.user_id)
    assert (await get(side)).status == 403
    await directus.suspend(spectator.user_id)
    assert (await get(side)).status == 401
    assert side.observed.histories == {"ok": 1}


async def test_the_extent_of_an_event(side: Side, url: str) -> None:
    """It is from the first to the last position, under the same rights."""
    now = now_ms()
    assert (await get_extent(side, SEVEN)).content == {"event": SEVEN, "from": None, "to": None}
    async with desk(url) as it:
        for n, device in enumerate("ab"):
            await it.writer.write([live_record(device, now - 60_000 * minute - n) for minute in (5, 10)])
    answer = await get_extent(side, SEVEN)
    assert answer.content == {"event": SEVEN, "from": now - 600_001, "to": now - 300_000}
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert [(await get_extent(side, event)).status for event in (MISSING, "", None)] == [403, 400, 400]


async def get_extent(side: Side, event_id: str | None) -> Answer:
    parameters = {} if event_id is None else {"event": event_id}
    headers = {"Cookie": side.cookie}
    async with side.http.get(f"{side.url}{history.EXTENT_PATH}", params=parameters, headers=headers) as response:
        return Answer(response.status, response.headers, await response.json())


async def test_rights_that_cannot_be_asked(side: Side, directus_line: TcpProxy) -> None:
    """It is to be tried again."""
    await directus_line.refuse()
    directus_line.cut()
    answer = await get(side)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"event": None}, "event"),
        ({"event": ""}, "event"),
        ({"event": "x" * 256}, "event"),
        ({"from": None}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-05-02T12:00:00"}, "from"),
        ({"from": "0001-01-01T00:00:00+23:59"}, "from"),
        ({"from": -1}, "from"),
        ({"from": "1e12"}, "from"),
        ({"to": "9" * 5000}, "to"),
        ({"to": "9999-12-31T23:59:59.999999Z"}, "to"),
        ({"to": FIRST_MS}, "to"),
        ({"to": FIRST_MS - 1}, "to"),
        ({"to": FIRST_MS + MAX_WINDOW_MS + 1}, "to"),
        ({"step": -1}, "step"),
        ({"step": "1.5"}, "step"),
        ({"step": 3_600_001}, "step"),
        ({"step": "1_0"}, "step"),
        ({"newest": "1_0"}, "newest"),
        ({"newest": 1001}, "newest"),
        ({"newest": 5, "step": 1000}, "newest"),
    ],
)
async def test_a_window_that_cannot_be_meant(side: Side, changes: dict[str, Any], named: str) -> None:
    """It is 400, with the parameter named."""
    answer = await get(side, changes)
    assert answer.status == 400
    assert answer.content["message"].startswith(f"{named}: ")


@given(st.dictionaries(st.sampled_from(["event", "from", "to", "step", "x"]), st.text(max_size=30)))
def test_whatever_the_parameters_are(parameters: dict[str, str]) -> None:
    """They name a window, or are refused."""
    with contextlib.suppress(BadWindowError):
        window = parse_window(parameters)
        assert window.first < window.end


async def test_going_on_where_an_answer_was_cut(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut answer says how far it goes and where the next one begins; the last one says nothing of the kind."""
    monkeypatch.setattr(past, "MAX_POSITIONS", 40)
    found: list[int] = []
    at: int | None = FIRST_MS
    while at is not None:
        answer = (await get(side, {"from": at, "to": FIRST_MS + 60_000})).content
        found += answer["devices"][0]["ts"]
        at = answer.get("next")
        assert answer["to"] == (at or FIRST_MS + 60_000)
    assert found == [FIRST_MS + 1000 * n for n in range(60)]


@pytest.mark.parametrize(
    ("taken", "sent"),
    [("gzip", "gzip"), ("br, GZIP;q=0.5", "gzip"), ("identity", None), ("br, gzip; q=0", None)],
)
async def test_encodings(side: Side, taken: str, sent: str | None) -> None:
    """It is compressed for whoever takes gzip, and the same for all others."""
    answer = await get(side, headers={"Accept-Encoding": taken})
    assert answer.headers.get("Content-Encoding") == sent
    assert answer.content == (await get(side)).content
    assert "Accept-Encoding" in answer.headers["Vary"]


async def test_caching(side: Side) -> None:
    """A browser, and nothing between, keeps what is past; asked again, an unchanged answer is not sent again."""
    answer = await get(side)
    assert answer.headers["Cache-Control"] == "private, max-age=300"
    assert {"Cookie", "Origin"} <= set(answer.headers["Vary"].split(", "))
    again = await get(side, headers={"If-None-Match": answer.headers["ETag"], "Accept-Encoding": "identity"})
    assert (again.status, again.content, again.headers["ETag"]) == (304, None, answer.headers["ETag"])
    other = await get(side, {"to": FIRST_MS + 11_000}, {"If-None-Match": answer.headers["ETag"]})
    assert other.status == 200
    now = await get(side, {"from": now_ms() - 10_000, "to": now_ms()})
    assert now.headers["Cache-Control"] == "private, no-cache"


async def test_pages_of_other_origins(live: LiveFactory, url: str) -> None:
    """They may read where they may connect."""
    foreign = {"Origin": "https://race.example"}
    async with reading(live, url) as side:
        assert (await get(side, headers=foreign)).status == 403
        assert (await get(side, headers={"Origin": side.url})).status == 200
    async with reading(live, url, allowed_origins=("https://race.example",)) as side:
        answer = await get(side, headers=foreign)
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "https://race.example"
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert (await get(side, headers={"Origin": "https://elsewhere.example"})).status == 403


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reads wait for a lock, and for each other, for as long as a test takes."""
    for limit in ("READ_S", "_WAIT_S"):
        monkeypatch.setattr(past, limit, 120.0)


@pytest.mark.usefixtures("patient")
async def test_a_client_that_leaves(side: Side, url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its statement is ended, which is no failure; those after it find the connections free."""
    async with session(url) as watching, session(url) as other, other.transaction():
        await other.execute("LOCK TABLE positions")

        async def nothing_is_read() -> bool:
            return await reading_now(watching) == 0

        for _ in range(3):
            leaving = asyncio.create_task(get(side))
            await eventually(lambda: reading_now(watching), message="the statement waits for the lock")
            leaving.cancel()
            await eventually(nothing_is_read, message="the statement has ended")
    await eventually(lambda: side.observed.histories["left"] == 3, message="it is counted")
    assert (await get(side)).status == 200
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


@pytest.fixture
def sharing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return what tells how many clients wait for reads now."""
    number = 0
    share = Shared.get

    async def counted(*args: Any) -> Any:
        nonlocal number
        number += 1
        try:
            return await share(*args)
        finally:
            number -= 1

    monkeypatch.setattr(Shared, "get", counted)
    return lambda: number


@pytest.mark.usefixtures("patient")
async def test_a_crowd_that_asks_for_the_same(sharing: Callable[[], int], side: Side, url: str) -> None:
    """It is one read, which goes on when some of them leave, and everyone who stayed gets it."""
    async with session(url) as watching:
        async with session(url) as other, other.transaction():
            await other.execute("LOCK TABLE positions")
            leaving = asyncio.create_task(get(side))
            await eventually(lambda: reading_now(watching), message="the statement waits for the lock")
            staying = [asyncio.create_task(get(side)) for _ in range(100)]
            await eventually(lambda: sharing() == 101, message="all wait for it")
            leaving.cancel()
            await eventually(lambda: sharing() == 100, message="one has left")
            assert await reading_now(watching) == 1
        answers = await asyncio.gather(*staying)
    assert [answer.status for answer in answers] == [200] * 100
    assert side.observed.histories["busy"] == 0


async def reading_now(watching: Any) -> int:
    return int(await watching.fetchval(READS))


async def test_a_database_that_is_busy(side: Side, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 503 with Retry-After, and the live side goes on."""
    monkeypatch.setattr(past, "READ_S", 0.2)
    async with session(url) as connection, connection.transaction():
        await connection.execute("LOCK TABLE positions")
        answer = await get(side)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        socket = await side.connect()
        assert (await ask(socket, type="subscribe", topic=f"event:{SEVEN}"))["type"] == "subscribed"
    assert side.observed.histories == {"busy": 1}
    monkeypatch.setattr(past, "READ_S", 120.0)
    assert (await get(side)).status == 200
