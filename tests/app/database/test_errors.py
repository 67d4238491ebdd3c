"""What errors mean, and how long to wait between attempts."""

import asyncio
import logging
import socket

import asyncpg
import pytest
from hypothesis import given, strategies as st

from telemetry_app.database import errors
from telemetry_app.database.backoff import Backoff, jittered
from telemetry_app.database.errors import DATABASE_ERRORS, UNUSABLE_AFTER, Outlook, describe, meaning_of
from tests.support.database import session

CASES: list[tuple[BaseException, Outlook, str]] = [
    (asyncpg.UntranslatableCharacterError(), Outlook.REFUSED, "look for a trigger"),
    (asyncpg.CheckViolationError(), Outlook.LATER, "trying again"),
    (asyncpg.NotNullViolationError(), Outlook.LATER, "a default"),
    (asyncpg.OutOfMemoryError(), Outlook.LATER, "max_locks_per_transaction"),
    (asyncpg.ProgramLimitExceededError(), Outlook.REFUSED, "trying again"),
    (asyncpg.ConnectionFailureError(), Outlook.SOON, "trying again"),
    (asyncpg.CannotConnectNowError(), Outlook.SOON, "trying again"),
    (asyncpg.TooManyConnectionsError(), Outlook.SOON, "raise max_connections"),
    (ConnectionRefusedError(), Outlook.SOON, "trying again"),
    (TimeoutError(), Outlook.SOON, "trying again"),
    (socket.gaierror(), Outlook.SOON, "trying again"),
    (asyncpg.DiskFullError(), Outlook.LATER, "free disk space"),
    (asyncpg.ReadOnlySQLTransactionError(), Outlook.LATER, "name the primary"),
    (asyncpg.InvalidSQLStatementNameError(), Outlook.LATER, "set POSTGRES_POOLER"),
    (asyncpg.DuplicatePreparedStatementError(), Outlook.LATER, "set POSTGRES_POOLER"),
    (asyncpg.InvalidAuthorizationSpecificationError(), Outlook.LATER, "pg_hba.conf"),
    (asyncpg.InvalidPasswordError(), Outlook.LATER, "correct the password"),
    (asyncpg.InvalidCatalogNameError(), Outlook.LATER, "create the database"),
    (asyncpg.UndefinedTableError(), Outlook.LATER, "telemetry migrate"),
    (asyncpg.UndefinedColumnError(), Outlook.LATER, "telemetry migrate"),
    (asyncpg.InvalidColumnReferenceError(), Outlook.LATER, "telemetry migrate"),
    (asyncpg.InsufficientPrivilegeError(), Outlook.LATER, "grant INSERT"),
    (asyncpg.DeadlockDetectedError(), Outlook.LATER, "trying again"),
    (asyncpg.LockNotAvailableError(), Outlook.LATER, "pg_stat_activity"),
    (asyncpg.QueryCanceledError(), Outlook.LATER, "locks and load"),
    (asyncpg.RaiseError(), Outlook.LATER, "trying again"),
    (asyncpg.InterfaceError("the pool is closing"), Outlook.LATER, "trying again"),
]


@pytest.mark.parametrize(("error", "outlook", "advice"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_what_an_error_means(error: BaseException, outlook: Outlook, advice: str) -> None:
    """Each kind of error has its outlook and its advice, and is told as a warning."""
    meaning = meaning_of(error)
    assert (meaning.outlook, meaning.severity) == (outlook, logging.WARNING)
    assert advice in meaning.advice
    assert isinstance(error, DATABASE_ERRORS)


@pytest.mark.parametrize("error", [KeyError("x"), asyncpg.InternalClientError("x")])
def test_a_defect_refuses_no_row_and_is_an_error(error: BaseException) -> None:
    """What nobody knows is waited for, loudly."""
    meaning = meaning_of(error)
    assert (meaning.outlook, meaning.severity) == (Outlook.LATER, logging.ERROR)


def test_every_meaning_has_its_reason() -> None:
    """The table says why, so that the next one who adds to it does too."""
    table = [*errors._BY_STATE.values(), *(meaning for _, meaning in errors._BY_TYPE), errors._UNKNOWN]
    assert all(meaning.reason and meaning.advice for meaning in table)


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError(), ConnectionResetError()])
def test_after_which_errors_a_connection_is_dropped(error: BaseException) -> None:
    """A statement may still be running on it."""
    assert isinstance(error, UNUSABLE_AFTER)


async def test_a_description_of_a_broken_constraint_shows_no_row(plain_postgres_url: str) -> None:
    """Logs and readiness have no positions of devices in them."""
    async with session(plain_postgres_url) as connection:
        with pytest.raises(asyncpg.CheckViolationError) as caught:
            await connection.execute("CREATE TABLE t (place float8 CHECK (place < 0)); INSERT INTO t VALUES (41.99)")
    assert "41.99" in str(caught.value)
    assert (
        describe(caught.value)
        == 'CheckViolationError: new row for relation "t" violates check constraint "t_place_check"'
    )


def test_an_error_is_described_on_one_line_of_bounded_length() -> None:
    """What a server says may be long and have lines."""
    assert describe(OSError("one\ntwo")) == "OSError: one two"
    assert describe(TimeoutError()) == "TimeoutError: no further word"
    assert len(describe(OSError("x" * 1000))) < 250


@given(st.integers(1, 10**9))
def test_a_wait_is_never_longer_than_its_limit(failures: int) -> None:
    """The limit doubles with each failure up to the longest wait, however long an outage lasts."""
    wait_s = Backoff(first_s=0.1, longest_s=5.0).wait_s(failures)
    assert 0 <= wait_s <= min(5.0, 0.1 * 2.0 ** min(failures - 1, 32))


def test_what_a_crowd_has_in_common_is_not_due_at_once() -> None:
    """Intervals are spread over the part by which they may be shorter, and are never longer."""
    waits_s = [jittered(100.0, 0.2) for _ in range(200)]
    assert 80.0 <= min(waits_s) < 85.0
    assert 95.0 < max(waits_s) <= 100.0
