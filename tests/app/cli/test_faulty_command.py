"""`telemetry faulty`: looking at marks and changing them."""

import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from telemetry_app.core.positions import marks
from telemetry_app.core.positions.marks import Span
from tests.app.cli.running import telemetry
from tests.support.database import session

NOW = datetime.now(UTC).replace(microsecond=0)
DEVICE = ("--device", "a")


@pytest.fixture
async def url(table_url: str) -> str:
    """A database with five positions of one device and one of another, a second apart, and one of a month ago."""
    async with session(table_url) as connection:
        await connection.executemany(
            "INSERT INTO positions (device_id, ts, latitude, longitude, faulty, faulty_reason)"
            " VALUES ($1, $2, 1.5, 2, $3::text IS NOT NULL, $3)",
            [
                *(("a", NOW + timedelta(seconds=n), "ahead" if n == 4 else None) for n in range(5)),
                ("b", NOW, "null-island"),
                ("a", NOW - timedelta(days=30), "ahead"),
            ],
        )
    return table_url


def at(second: int) -> str:
    return (NOW + timedelta(seconds=second)).isoformat()


async def marked(url: str) -> list[tuple[str, int, str | None]]:
    """Return device, second and reason of each faulty position of today."""
    async with session(url) as connection:
        rows = await connection.fetch(
            "SELECT device_id, ts, faulty_reason FROM positions WHERE faulty AND ts >= $1 ORDER BY device_id, ts", NOW
        )
    return [(row[0], (row[1] - NOW).seconds, row[2]) for row in rows]


async def test_listing(url: str) -> None:
    """Faulty positions of the last day, the newest first; of one device, of another time, and as JSON if asked."""
    code, output, errors = await telemetry(url, "faulty", "list")
    assert (code, errors) == (0, "2 faulty positions")
    assert [line.split("  ")[1:4] for line in output.splitlines()] == [
        ["a", "ahead", "1.5,2.0"],
        ["b", "null-island", "1.5,2.0"],
    ]
    _, output, _ = await telemetry(
        url, "faulty", "list", *DEVICE, "--from", (NOW - timedelta(days=31)).isoformat(), "--json"
    )
    listed = json.loads(output)
    assert [row["device_id"] for row in listed] == ["a", "a"]
    assert set(listed[0]) == {"device_id", "ts", "latitude", "longitude", "satellites", "reason", "ingested_at"}
    assert datetime.fromisoformat(listed[0]["ts"]) == NOW + timedelta(seconds=4)


async def test_listing_up_to_a_time(url: str) -> None:
    """Without a beginning it is the day before; an end before the beginning is a mistake."""
    end = ("--to", (NOW - timedelta(days=29, hours=12)).isoformat())
    assert (await telemetry(url, "faulty", "list", *end))[2] == "1 faulty position"
    code, _, errors = await telemetry(url, "faulty", "list", "--from", at(0), *end)
    assert code == 2
    assert "Invalid value for --to: is before --from" in errors


async def test_marking(url: str) -> None:
    """A device's positions from one time to another are marked with a reason; who is marked already keeps theirs."""
    assert await telemetry(url, "faulty", "mark", *DEVICE, "--from", at(3), "--to", at(9), "--reason", "towed") == (
        0,
        "marked 1",
        "",
    )
    assert await telemetry(url, "faulty", "mark", *DEVICE, "--from", at(1)) == (0, "marked 1", "")
    assert await marked(url) == [
        ("a", 1, "operator"), ("a", 3, "towed"), ("a", 4, "ahead"), ("b", 0, "null-island"),
    ]  # fmt: skip


async def test_unmarking(url: str) -> None:
    """Whoever marked them, they are good again, and have no reason."""
    assert await telemetry(url, "faulty", "unmark", *DEVICE, "--from", at(0), "--to", at(9)) == (0, "unmarked 1", "")
    assert await marked(url) == [("b", 0, "null-island")]


async def test_unmarking_what_had_a_reason(url: str) -> None:
    """What the workers marked stays marked, so that a mistaken mark is undone without showing what cannot be true."""
    everything = (*DEVICE, "--from", at(0), "--to", at(9))
    await telemetry(url, "faulty", "mark", *everything, "--reason", "towed")
    assert await telemetry(url, "faulty", "unmark", *everything, "--reason", "towed") == (0, "unmarked 4", "")
    assert await marked(url) == [("a", 4, "ahead"), ("b", 0, "null-island")]


async def test_ids_and_reasons_that_a_terminal_would_act_on(url: str) -> None:
    """They are escaped, so that a row stays a line."""
    async with session(url) as connection:
        await connection.execute("DELETE FROM positions")
        await connection.execute(
            "INSERT INTO positions (device_id, ts, latitude, longitude, faulty, faulty_reason)"
            " VALUES ($1, $2, 0, 0, true, $3)",
            "a\n\x1b[31m", NOW, "on\ra trailer",
        )  # fmt: skip
    _, output, _ = await telemetry(url, "faulty", "list")
    assert output.split("  ")[1:3] == [r'"a\n\u001b[31m"', r'"on\ra trailer"']
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--from", "yesterday"), "'yesterday' is not a time: write it as 2026-05-02T12:00:00Z"),
        (("--from", "2026-05-02T12:00:00"), "has no time zone: write 2026-05-02T12:00:00Z for UTC"),
        (("--from", "2026-05-02"), "has no time zone: write 2026-05-02T00:00:00Z for UTC"),
        (("--from", at(2), "--to", at(1)), "Invalid value for --to: is before --from"),
    ],
)
async def test_times_that_are_none(arguments: tuple[str, ...], complaint: str) -> None:
    """A time without its zone could mean another hour; nothing is marked."""
    code, _, errors = await telemetry("postgresql://127.0.0.1:1/none", "faulty", "mark", *DEVICE, *arguments)
    assert code == 2
    assert complaint in errors


async def test_a_table_that_is_not_migrated(plain_postgres_url: str) -> None:
    """One sentence says what to do."""
    code, _, errors = await telemetry(plain_postgres_url, "faulty", "list")
    assert code == 1
    assert "run `telemetry migrate`" in errors
    assert "Traceback" not in errors


async def test_a_server_that_is_away() -> None:
    """One sentence at once, and not a line for each attempt."""
    _, output, errors = await telemetry("postgresql://127.0.0.1:1/none", "faulty", "mark", *DEVICE, "--from", at(0))
    assert output == ""
    assert errors.startswith("Error: The positions of POSTGRES_URL cannot be used (")
    assert errors.endswith("): run it again when the server answers.")
    assert len(errors.splitlines()) == 1


SPAN = Span("a", NOW, NOW + timedelta(seconds=9))


async def test_a_table_that_is_locked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for ever for somebody else's lock, and nothing is marked."""
    monkeypatch.setattr(marks, "_LOCK_WAIT_S", 0.2)
    before = await marked(url)
    async with session(url) as holder, session(url) as connection:
        async with holder.transaction():
            await holder.execute("LOCK TABLE positions")
            for act in (
                marks.find(connection, None, NOW, SPAN.last, most=1),
                marks.mark(connection, SPAN, "x"),
                marks.unmark(connection, SPAN, None),
            ):
                with pytest.raises(asyncpg.LockNotAvailableError):
                    await act
        assert await connection.fetchval("SHOW lock_timeout") == "0"
    assert await marked(url) == before
