"""Of two records with one device and time the first is stored, and what the second has besides is merged into it."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec.structs import asdict

from telemetry_app.core.positions.insert import INSERT_POSITIONS
from telemetry_app.core.positions.merge import Merger
from telemetry_app.core.positions.rows import columns
from telemetry_app.database.postgres import Postgres
from telemetry_app.records.position import Position
from telemetry_app.records.quality import Doubted
from tests.app.core.positions.writing import Desk, WriteResult, desk, writer_waits
from tests.conftest import ProxyFactory
from tests.support.database import session
from tests.support.records import FIRST_TS, position
from tests.support.servers.proxy import url_through
from tests.support.waiting import eventually

REFUSE_BAD = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
AS $$BEGIN IF NEW.attributes ? 'bad' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END$$;
CREATE TRIGGER refuse BEFORE UPDATE ON positions FOR EACH ROW EXECUTE FUNCTION refuse()
"""
DROP_BAD = """
CREATE FUNCTION drop_bad() RETURNS trigger LANGUAGE plpgsql
AS $$BEGIN IF NEW.attributes ? 'bad' THEN RETURN NULL; END IF; RETURN NEW; END$$;
CREATE TRIGGER drop_bad BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION drop_bad()
"""
WEEK_S = 7 * 86_400


@pytest.fixture
def url(table_url: str) -> str:
    """A database with the table."""
    return table_url


def record(second: int = 0, priority: int = 0, **attributes: Any) -> Position:
    return position(second, priority=priority, attributes=json.dumps(attributes).encode())


PERIODIC = record(ignition=1, battery=12)
PANIC = record(priority=2, battery=11, panic=1)
BOTH = (2, {"ignition": 1, "battery": 12, "panic": 1})


async def stored(url: str) -> list[tuple[int, dict[str, Any]]]:
    """Return priority and attributes of what is in the table, in the order of time."""
    async with session(url) as connection:
        rows = await connection.fetch("SELECT priority, attributes::text FROM positions ORDER BY ts")
    return [(row[0], json.loads(row[1])) for row in rows]


@pytest.mark.parametrize("together", [True, False], ids=["one-batch", "two-batches"])
async def test_what_the_second_record_has_besides_is_added(url: str, *, together: bool) -> None:
    """Missing attributes are added, those there are kept, the greater priority counts, the position stays the first."""
    second = position(speed=99.0, priority=PANIC.priority, attributes=PANIC.attributes)
    async with desk(url) as it, session(url) as connection:
        if together:
            result = await it.write([PERIODIC, second])
        else:
            assert await it.write([PERIODIC]) == WriteResult(1, 0, ())
            result = await it.write([second])
        speeds = await connection.fetch("SELECT speed FROM positions")

    assert result == WriteResult(inserted=int(together), duplicates=0, refused=(), merged=1)
    assert await stored(url) == [BOTH]
    assert [row["speed"] for row in speeds] == [PERIODIC.speed]


async def test_repeating_changes_nothing(url: str) -> None:
    """Both records given again, in either order and together, are duplicates, and the row is not written again."""
    async with desk(url) as it, session(url) as connection:
        await it.write([PERIODIC, PANIC])
        version = await connection.fetchval("SELECT xmin::text || ctid::text FROM positions")
        results = [await it.write(batch) for batch in ([PERIODIC, PANIC], [PANIC, PERIODIC], [PANIC], [PERIODIC])]
        assert await connection.fetchval("SELECT xmin::text || ctid::text FROM positions") == version

    assert [(result.duplicates, result.merged) for result in results] == [(2, 0), (2, 0), (1, 0), (1, 0)]


async def test_a_lower_priority_and_nothing_new(url: str) -> None:
    """A record that differs but has nothing to add is a duplicate."""
    async with desk(url) as it:
        await it.write([record(priority=2, a=1)])
        result = await it.write([record(priority=1, a=2)])

    assert result == WriteResult(0, 1, ())
    assert await stored(url) == [(2, {"a": 1})]


async def test_many_of_one_time(url: str) -> None:
    """Each of several records counts by what it adds to those before it; of an attribute the first value is kept."""
    batch = [record(a=1), record(b=1), record(b=2), record(priority=1), record(c=3, b=9), record(c=4)]
    async with desk(url) as it:
        result = await it.write(batch)

    assert result == WriteResult(inserted=1, duplicates=2, refused=(), merged=3)
    assert await stored(url) == [(1, {"a": 1, "b": 1, "c": 3})]


async def test_awkward_attributes(url: str) -> None:
    """Digits, nested values, sentinels and names that need escaping survive being merged."""
    first = position(attributes=b'{"n":12345678901234567.25,"d":{"x":1}}')
    second = position(
        attributes=b'{"d":{"y":2},"78":{"__bigint":"1152921504606846976"},"a\\"\\u00e9":[{"k":1e30}],"":null}'
    )
    async with desk(url) as it, session(url) as connection:
        result = await it.write([first, second])
        text = await connection.fetchval("SELECT attributes::text FROM positions")

    assert (result.inserted, result.merged) == (1, 1)
    assert "12345678901234567.25" in text
    expected = {"d": {"x": 1}, "78": "1152921504606846976", 'a"é': [{"k": 10**30}], "": None, "n": 12345678901234567.25}
    assert json.loads(text) == expected


async def test_rows_of_an_older_deployment(url: str) -> None:
    """A stored row without priority takes the record's, and attributes that are no object are left alone."""
    async with desk(url) as it, session(url) as connection:
        for second, attributes in enumerate(("{}", "[1]")):
            await connection.execute(
                "INSERT INTO positions (device_id, ts, attributes) VALUES ($1, $2, $3)",
                position().device_id,
                position(second).ts,
                attributes,
            )
        result = await it.write([record(0, priority=1, a=1), record(1, priority=1, a=1)])
        rows = await connection.fetch("SELECT priority, attributes::text FROM positions ORDER BY ts")

    assert result == WriteResult(0, 1, (), 1)
    assert [tuple(row) for row in rows] == [(1, '{"a": 1}'), (None, "[1]")]


async def test_a_batch_over_many_weeks(url: str) -> None:
    """Records of many chunks are merged each into its own row, whatever their order."""
    weeks = range(12)
    async with desk(url) as it:
        await it.write([record(-week * WEEK_S, a=week) for week in weeks])
        result = await it.write([record(-week * WEEK_S, b=week) for week in reversed(weeks)])

    assert result == WriteResult(0, 0, (), 12)
    assert await stored(url) == [(0, {"a": week, "b": week}) for week in reversed(weeks)]


async def test_two_workers_at_once(url: str) -> None:
    """What two workers merge into the same rows at the same time is all there, and counted once."""
    seconds = range(40)
    async with desk(url) as one, desk(url) as other:
        await one.write([record(second, a=1) for second in seconds])
        ours, theirs = ([record(second, same=1, **{name: 1}) for second in seconds] for name in ("b", "c"))
        both = await asyncio.gather(one.write(ours), other.write(theirs[::-1]))
        again = await asyncio.gather(one.write(ours), other.write(theirs))

    assert [result.merged for result in (*both, *again)] == [40, 40, 0, 0]
    assert await stored(url) == [(0, {"a": 1, "b": 1, "c": 1, "same": 1})] * 40


async def test_the_row_is_being_inserted_by_somebody_else(url: str) -> None:
    """A record whose row another transaction is about to store waits for it and is merged into it."""
    async with session(url) as other, desk(url) as it:
        # With its chunk there already the statement waits for the row, not for the chunk.
        await it.write([record(9)])
        transaction = other.transaction()
        await transaction.start()
        await other.execute(INSERT_POSITIONS, *columns([PERIODIC]))
        write = asyncio.create_task(it.write([PANIC]))
        await eventually(lambda: writer_waits(url))
        await transaction.commit()
        result = await write

    assert result == WriteResult(0, 0, (), 1)
    assert (await stored(url))[0] == BOTH


async def test_the_first_reply_is_lost(url: str, tcp_proxy: ProxyFactory) -> None:
    """A batch that was stored though nobody heard of it is repeated, and what its records add is merged then."""
    parts = urlsplit(url)
    proxy = await tcp_proxy(parts.hostname, parts.port)
    async with desk(url_through(proxy, url), size=1) as it, session(url) as other:
        await it.write([record(9)])
        lock = other.transaction()
        await lock.start()
        await other.execute("LOCK TABLE positions")
        write = asyncio.create_task(it.write([PERIODIC, PANIC]))
        await eventually(lambda: writer_waits(url))
        proxy.stall()
        await lock.rollback()
        await eventually(lambda: other.fetchval("SELECT count(*) = 2 FROM positions"))
        proxy.cut()
        proxy.flow()
        result = await write

    assert result == WriteResult(0, 1, (), 1)
    assert (await stored(url))[0] == BOTH


async def test_a_connection_lost_between_the_two_statements(url: str) -> None:
    """Rows that are stored stay counted as such when only the merge has to be repeated."""
    async with session(url) as other, desk(url) as it:
        await it.write([PERIODIC])
        lock = other.transaction()
        await lock.start()
        await other.execute("SELECT FROM positions FOR UPDATE")
        write = asyncio.create_task(it.write([record(1), PANIC]))
        await eventually(lambda: writer_waits(url))
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'telemetry-processor' AND datname = current_database()"
        )
        await lock.rollback()
        result = await write

    assert it.observed.retries.total() > 0
    assert result == WriteResult(1, 0, (), 1)
    assert await stored(url) == [BOTH, (0, {})]


async def test_behind_a_pooler(url: str) -> None:
    """On a connection that is lent within a transaction it is the same, what is refused included."""
    async with session(url) as connection:
        await connection.execute(REFUSE_BAD)
    postgres = Postgres(url, size=2, pooler="transaction")
    async with postgres:
        it = Desk(postgres)
        first = await it.write([PERIODIC, PANIC])
        again = await it.write([PANIC, record(bad=1)])
        more = await it.write([record(more=1)])

    assert (first.inserted, first.merged) == (1, 1)
    assert (again, more) == (WriteResult(0, 2, ()), WriteResult(0, 0, (), 1))
    assert await stored(url) == [(2, BOTH[1] | {"more": 1})]


async def test_the_usual_batch_is_one_statement(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows without a conflict are not looked at again."""
    asked: list[int] = []

    async def merge(_self: object, _connection: object, rows: Sequence[Any], doubts: object) -> int:  # noqa: ARG001
        asked.append(len(rows[0]))
        return 0

    monkeypatch.setattr(Merger, "merge", merge)
    async with desk(url) as it:
        await it.write([record(0), record(1)])
        assert asked == []
        await it.write([record(1), record(2)])

    assert asked == [2]


async def test_a_redelivered_batch_opens_only_the_chunks_of_its_times(timescale_table_url: str) -> None:
    """Comparing rows with what is stored locks no chunk but theirs, however many there are and however often it ran."""
    url = timescale_table_url
    batch = [record(second, a=1) for second in range(50)]
    async with desk(url) as it, session(url) as connection:
        await it.write([*batch, *(record(-week * WEEK_S) for week in range(1, 20))])
        for _ in range(8):  # beyond the executions after which a server may take a plan for any parameters
            async with connection.transaction():
                merged = await Merger().merge(connection, columns(batch))  # type: ignore[arg-type]
                chunks = await connection.fetchval(
                    "SELECT count(DISTINCT relation) FROM pg_locks JOIN pg_class c ON c.oid = relation"
                    " WHERE pid = pg_backend_pid() AND c.relkind = 'r' AND c.relname LIKE '%\\_chunk'"
                )
            assert (merged, chunks) == (0, 1)


async def test_a_row_that_cannot_be_true_is_replaced_by_one_that_can(url: str) -> None:
    """A clock that was ahead comes to its time again; in doubt too, or in place of an operator's mark, it does not."""

    def doubted(second: int, fault: str | None) -> Doubted:
        plain = asdict(position(second, latitude=0.0))
        return Doubted(**plain, appended_ms=round(FIRST_TS.timestamp() * 1000) - 5000, fault=fault)

    faults = ["ahead", "null-island", None, "ahead", "ahead", None]
    async with session(url) as other, desk(url) as it:
        await it.write([doubted(second, fault) for second, fault in enumerate(faults)])
        await other.execute(
            "UPDATE positions SET faulty_reason = 'towed' WHERE ts = $1", FIRST_TS + timedelta(seconds=3)
        )
        again = [*(position(second) for second in range(4)), doubted(4, "ahead"), doubted(5, None)]
        results = [await it.write(again) for _ in range(2)]
        rows = await other.fetch("SELECT latitude, faulty_reason, ingested_at >= ts FROM positions ORDER BY ts")

    assert results == [WriteResult(0, 3, (), 3), WriteResult(0, 6, ())]
    replaced = (41.99, None, True)
    assert [tuple(row) for row in rows] == [
        replaced, replaced, replaced, (0.0, "towed", False), (0.0, "ahead", False), (0.0, None, False),
    ]  # fmt: skip


async def test_a_fix_within_the_second_of_no_fix(url: str) -> None:
    """Of two records of one batch, one device and one time the one that can be true is the row."""
    no_fix = Doubted(
        **asdict(position(latitude=0.0)), appended_ms=round(FIRST_TS.timestamp() * 1000), fault="null-island"
    )
    async with session(url) as other, desk(url) as it:
        assert await it.write([no_fix, position()]) == WriteResult(1, 0, (), 1)
        assert tuple(await other.fetchrow("SELECT latitude, faulty FROM positions") or ()) == (41.99, False)


async def test_two_records_of_one_second_of_a_clock_that_is_ahead(url: str) -> None:
    """They are merged as those of any clock."""
    appended_ms = round(FIRST_TS.timestamp() * 1000) - 5000
    ahead = [Doubted(**asdict(plain), appended_ms=appended_ms, fault=None) for plain in (PERIODIC, PANIC)]
    async with desk(url) as it:
        assert await it.write(ahead) == WriteResult(1, 0, (), 1)
    assert await stored(url) == [BOTH]


async def test_rows_that_may_not_be_changed(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where one row refuses to be changed the others are merged; its record is a duplicate, and the log says so."""
    async with session(url) as other, desk(url) as it:
        await it.write([record(second, a=1) for second in range(10)])
        await other.execute(REFUSE_BAD)
        result = await it.write([record(second, **{"bad" if second == 3 else "b": 1}) for second in range(10)])

    assert result == WriteResult(0, 1, (), 9)
    assert await stored(url) == [(0, {"a": 1} if second == 3 else {"a": 1, "b": 1}) for second in range(10)]
    lines = [log.message for log in caplog.records if "a stored row may not be changed" in log.message]
    assert len(lines) == 1
    assert "(RaiseError: not this one)" in lines[0]


async def test_without_the_right_to_change_rows(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A user who may only insert and read goes on storing, exact repetitions need no more; the log names the grant."""
    role = f"role_{uuid.uuid4().hex}"
    parts = urlsplit(url)
    async with session(url) as other:
        await other.execute(f"CREATE ROLE {role} LOGIN; GRANT INSERT, SELECT ON positions TO {role}")
        try:
            theirs = parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}").geturl()
            async with desk(theirs) as it:
                exact = await it.write([PERIODIC, PERIODIC])
                assert caplog.records == []
                result = await it.write([PANIC, record(1)])
        finally:
            await other.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")

    assert (exact, result) == (WriteResult(1, 1, ()), WriteResult(1, 1, ()))
    assert "grant SELECT and UPDATE on positions" in caplog.text


async def test_rows_that_a_trigger_drops(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """They are neither stored nor duplicates, which the log says; the others of the batch are stored and merged."""
    async with desk(url) as it, session(url) as connection:
        await it.write([record(5, a=1)])
        await connection.execute(DROP_BAD)
        result = await it.write([PERIODIC, record(1, bad=1), record(2, bad=1), PANIC, record(5, a=1)])
        await it.write([record(3, bad=1)])

    assert result == WriteResult(inserted=1, duplicates=3, refused=(), merged=1)
    assert await stored(url) == [BOTH, (0, {"a": 1})]
    [said] = [one for one in caplog.messages if "does not keep them" in one]
    assert PERIODIC.device_id in said


async def test_duplicates_are_not_said_to_be_dropped(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A batch that is delivered again is no reason to look for a trigger."""
    async with desk(url) as it:
        await it.write([PERIODIC])
        assert (await it.write([PERIODIC, record(1), PERIODIC])).duplicates == 2
    assert not caplog.messages
