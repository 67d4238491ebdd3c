import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from telemetry_app.database import ailing
from telemetry_app.live.positions.device_events import CachedDeviceEvents, _entered
from tests.conftest import ProxyFactory
from tests.support.database import pool, session
from tests.support.observed import LiveObserved
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually

A, B = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
TABLES = """
CREATE TABLE entries (id {0} PRIMARY KEY, event_id {0});
CREATE TABLE entry_devices (id serial PRIMARY KEY, entry_id {0}, device_id text);
"""
ROWS = """
INSERT INTO entries
VALUES ('11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-111111111111'),
       ('22222222-2222-4222-8222-222222222222', '22222222-2222-4222-8222-222222222222'),
       (gen_random_uuid(), NULL);
INSERT INTO entry_devices (entry_id, device_id)
VALUES ('11111111-1111-4111-8111-111111111111', '1'),
       ('11111111-1111-4111-8111-111111111111', '2'),
       ('22222222-2222-4222-8222-222222222222', '2'),
       ('22222222-2222-4222-8222-222222222222', '2'),
       ('22222222-2222-4222-8222-222222222222', NULL),
       (NULL, '3'),
       (gen_random_uuid(), '4');
INSERT INTO entry_devices (entry_id, device_id) SELECT id, '5' FROM entries WHERE event_id IS NULL
"""
NUMBERED = "INSERT INTO entries VALUES (1, 7); INSERT INTO entry_devices VALUES (1, 1, '356')"
NONE: frozenset[str] = frozenset()


@contextlib.asynccontextmanager
async def known(url: str, observed: LiveObserved, *, refresh_s: float = 100_000) -> AsyncIterator[CachedDeviceEvents]:
    """Start a pool and what is known of the tables for the time of the block."""
    async with pool(url) as postgres:
        events = CachedDeviceEvents(postgres, refresh_s=refresh_s, observer=observed)
        async with events:
            yield events


@pytest.fixture
def tried_by_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read but at the start and when the test says so: two reads at a time would count a change twice."""
    monkeypatch.setattr(CachedDeviceEvents, "_wait_s", lambda _: 3600.0)


@pytest.fixture
async def url(plain_postgres_url: str) -> str:
    """A database with two events, of which device 2 is in both."""
    async with session(plain_postgres_url) as connection:
        await connection.execute(TABLES.format("uuid") + ROWS)
    return plain_postgres_url


async def test_both_directions(url: str) -> None:
    """From its start on it knows the events of a device and the devices of an event, and nothing of others."""
    observed = LiveObserved()
    async with known(url, observed) as events:
        assert [events.events_of(device) for device in "12345"] == [{A}, {A, B}, NONE, NONE, NONE]
        assert [events.devices_of(event) for event in (A, B, "None")] == [{"1", "2"}, {"2"}, NONE]
    assert observed.retries == []


async def test_numbered_events(plain_postgres_url: str) -> None:
    """Ids that are numbers are known by their digits."""
    async with session(plain_postgres_url) as connection:
        await connection.execute(TABLES.format("int") + NUMBERED)
    async with known(plain_postgres_url, LiveObserved()) as events:
        assert events.events_of("356") == {"7"}
        assert events.devices_of("7") == {"356"}


@pytest.mark.usefixtures("tried_by_the_test")
@pytest.mark.parametrize(
    ("column_type", "possible"),
    [("int", ["7"]), ("bigint", ["7", "99999999999"]), ("uuid", [A]), ("text", ["7", "007", "99999999999", A, "é"])],
)
async def test_ids_that_no_event_can_have(plain_postgres_url: str, column_type: str, possible: list[str]) -> None:
    """The type of the column says which ids an event can have; before the tables are there, it can have any."""
    ids = ["7", "007", "99999999999", A, "é"]
    async with known(plain_postgres_url, LiveObserved()) as events, session(plain_postgres_url) as connection:
        assert all(events.can_be_an_event(event_id) for event_id in ids)
        await connection.execute(TABLES.format(column_type))
        assert await events.refresh()
        assert [event_id for event_id in ids if events.can_be_an_event(event_id)] == possible


async def test_changes_arrive(url: str) -> None:
    """A change in the tables is known after the next refresh, without being asked for."""
    async with session(url) as connection, known(url, LiveObserved(), refresh_s=0.05) as events:
        await connection.execute("INSERT INTO entry_devices (entry_id, device_id) VALUES ($1, 'new')", A)
        await eventually(lambda: events.events_of("new") == {A})
        await connection.execute("DELETE FROM entry_devices WHERE device_id = '2'")
        await eventually(lambda: events.events_of("2") == NONE)
        assert events.devices_of(A) == {"1", "new"}
        assert events.devices_of(B) == NONE


@pytest.mark.usefixtures("tried_by_the_test")
async def test_a_failed_refresh(url: str, tcp_proxy: ProxyFactory, caplog: pytest.LogCaptureFixture) -> None:
    """While the database is away what is known stays known; the failures are counted and one line is logged."""
    parts = urlsplit(url)
    proxy = await tcp_proxy(parts.hostname, parts.port)
    observed = LiveObserved()
    async with known(url_through(proxy, url), observed) as events:
        await proxy.refuse()
        proxy.cut()
        assert [await events.refresh() for _ in range(3)] == [False, False, False]
        assert events.events_of("2") == {A, B}
        assert observed.retries == ["device events"] * 3
        await proxy.accept()
        assert await events.refresh()

    lines = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(lines) == 1
    assert lines[0].startswith("refreshing device events (the last known stay in use): ")


async def test_entries(url: str) -> None:
    """It knows for which entry of an event a device takes part."""
    async with known(url, LiveObserved()) as events:
        assert [events.entries_of(event) for event in (A, B, "C")] == [{"1": A, "2": A}, {"2": B}, {}]


async def test_it_tries_again_soon(url: str, tcp_proxy: ProxyFactory) -> None:
    """Started without a database it knows nothing, and reads as soon as there is one, well before the next refresh."""
    parts = urlsplit(url)
    proxy = await tcp_proxy(parts.hostname, parts.port)
    await proxy.refuse()
    async with known(url_through(proxy, url), LiveObserved()) as events:
        assert events.events_of("2") == NONE
        await proxy.accept()
        await eventually(lambda: events.events_of("2") == {A, B}, timeout_s=30)


@pytest.mark.usefixtures("tried_by_the_test")
async def test_without_tables(
    plain_postgres_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Directus' tables nothing is known, one line says why, and they are found once they are made."""
    caplog.set_level("INFO")
    # Any connection that fails three times in a row is replaced, which would be said.
    monkeypatch.setattr(ailing, "_PERSISTS_S", 0)
    async with known(plain_postgres_url, LiveObserved()) as events, session(plain_postgres_url) as connection:
        assert (events.devices_of(A), events.version) == (NONE, 1)
        assert [await events.refresh() for _ in range(10)] == [False] * 10
        (said,) = [record.getMessage() for record in caplog.records if "does not exist" in record.getMessage()]
        assert "Directus has not made the tables entries and entry_devices in this database" in said
        await connection.execute(TABLES.format("uuid") + ROWS)
        assert await events.refresh()
        assert (events.devices_of(A), events.version) == (frozenset("12"), 2)


@pytest.mark.usefixtures("tried_by_the_test")
async def test_the_version(url: str, tcp_proxy: ProxyFactory) -> None:
    """It is 0 until the tables are known, and rises when they differ; what is the same stays the same object."""
    parts = urlsplit(url)
    proxy = await tcp_proxy(parts.hostname, parts.port)
    await proxy.refuse()
    async with known(url_through(proxy, url), LiveObserved()) as events, session(url) as connection:
        assert events.version == 0
        await proxy.accept()
        assert await events.refresh()
        a, b = events.devices_of(A), events.devices_of(B)
        assert await events.refresh()
        assert (events.version, events.devices_of(A) is a) == (1, True)
        await connection.execute("INSERT INTO entry_devices (entry_id, device_id) VALUES ($1, 'new')", A)
        assert await events.refresh()
        assert (events.version, events.devices_of(A) is a, events.devices_of(B) is b) == (2, False, True)


async def test_sorting_holds_nobody_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows there are, they are sorted beside the event loop."""
    threads: list[int] = []

    def noted(rows: list[Any], known_devices: Any) -> Any:
        threads.append(threading.get_ident())
        return _entered(rows, known_devices)

    monkeypatch.setattr("telemetry_app.live.positions.device_events._entered", noted)
    async with known(url, LiveObserved()) as events:
        assert events.devices_of(A) == {"1", "2"}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_workers_do_not_read_together(url: str) -> None:
    """The time between two reads is up to a tenth shorter than was asked for, and never longer."""
    async with known(url, LiveObserved(), refresh_s=100.0) as events:
        waits_s = [events._wait_s() for _ in range(200)]
    assert 90.0 <= min(waits_s) < 92.0
    assert 98.0 < max(waits_s) <= 100.0


async def test_the_end(url: str) -> None:
    """It stops at once, in the middle of a wait."""
    async with pool(url) as postgres:
        events = CachedDeviceEvents(postgres, refresh_s=100_000, observer=LiveObserved())
        await events.start()
        await asyncio.wait_for(events.stop(), 30)
        assert events.events_of("1") == {A}
