"""What errors of the database mean: the rows are to blame, it passes, or somebody has to act."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import asyncpg

#: Everything by which a database says that it cannot be asked now. A timeout is an OSError.
DATABASE_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
#: After one of these nobody knows what a connection is doing: a statement may still be running on it.
UNUSABLE_AFTER: Final = (OSError, asyncpg.InternalClientError, asyncio.CancelledError)

_LONGEST_DESCRIPTION: Final = 200


class Outlook(Enum):
    """Whether trying again helps."""

    REFUSED = auto()
    """Never: the rows themselves are at fault."""
    SOON = auto()
    """Within seconds, as when a server starts or restarts."""
    LATER = auto()
    """When the database is in order again, which may take somebody to act."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is known of a kind of error.

    Attributes:
        outlook: Whether trying again helps.
        reason: Why that is its outlook.
        advice: What an operator does about it.
        severity: Level of the line that tells of it.
        patience: Failures after which a batch is halved to find out whether some of its rows are to blame.
        of_the_server: Whether no row is ever to blame, even if others pass meanwhile.
        of_a_crash: Whether a row may be to blame although it looks like an outage: one that ends its session.
    """

    outlook: Outlook
    reason: str
    advice: str = "trying again"
    severity: int = logging.WARNING
    patience: int = 3
    of_the_server: bool = False
    of_a_crash: bool = False

    @property
    def may_be_of_rows(self) -> bool:
        """Whether a statement that goes on failing so is worth taking apart."""
        return self.outlook is not Outlook.SOON or self.of_a_crash


_SESSION_LOST: Final = Meaning(
    Outlook.SOON,
    "the server went away in the middle, or a row crashed its session",
    "trying again; if the server runs, its log says what ends the session",
    patience=5,
    of_a_crash=True,
)
#: A statement that ran into the statement timeout.
TIMED_OUT: Final = "57014"
#: A write in a session that is read-only, or on a standby.
READ_ONLY: Final = "25006"
_NOT_A_SESSION_POOLER: Final = "a pooler in transaction mode is between: set POSTGRES_POOLER to auto or transaction"
_MIGRATE: Final = "run `telemetry migrate`"
#: By SQLSTATE, or by its first two characters, which are the class; the longer one goes first.
_BY_STATE: Final = {
    "22": Meaning(
        Outlook.REFUSED,
        "data exception: a value that its column cannot hold, or a mistake of a trigger",
        "what is stored would be refused as well: look for a trigger or a column of positions that was changed",
    ),
    "23": Meaning(Outlook.LATER, "integrity constraint violation: of a row, or a constraint nothing meets", patience=1),
    "23502": Meaning(
        Outlook.LATER, "a column is NULL", "give columns of positions that no record fills a default", patience=1
    ),
    "54": Meaning(Outlook.REFUSED, "program limit exceeded: a key too long for the index"),
    "08": _SESSION_LOST,
    "57P03": Meaning(Outlook.SOON, "cannot connect now: the server starts, recovers or shuts down"),
    "53300": Meaning(Outlook.SOON, "too many connections", "raise max_connections or lower POSTGRES_POOL_SIZE"),
    "53100": Meaning(Outlook.LATER, "disk full", "free disk space on the database server", of_the_server=True),
    "53200": Meaning(
        Outlook.LATER,
        "out of memory, or of locks: a batch over many chunks takes one for each",
        "raise max_locks_per_transaction on the database server",
        patience=1,
        of_the_server=True,
    ),
    TIMED_OUT: Meaning(
        Outlook.LATER, "the statement took too long", "look for locks and load on the database server", patience=1
    ),
    "55P03": Meaning(
        Outlook.LATER,
        "a lock was not to be had in time",
        "look for long transactions on the database server (pg_stat_activity)",
    ),
    "40": Meaning(Outlook.LATER, "deadlock, or not serializable: passes when tried again", of_the_server=True),
    "58": Meaning(Outlook.LATER, "the server's files cannot be read", of_the_server=True),
    READ_ONLY: Meaning(
        Outlook.LATER, "read-only", "the server is read-only, POSTGRES_URL has to name the primary", of_the_server=True
    ),
    "28": Meaning(Outlook.LATER, "not let in", "correct POSTGRES_URL's user, or what the server lets in (pg_hba.conf)"),
    "28P01": Meaning(Outlook.LATER, "wrong password", "correct the password in POSTGRES_URL"),
    "26000": Meaning(Outlook.LATER, "a prepared statement that is not there", _NOT_A_SESSION_POOLER),
    "42P05": Meaning(Outlook.LATER, "a prepared statement that is there already", _NOT_A_SESSION_POOLER),
    "3D000": Meaning(Outlook.LATER, "no such database", "create the database that POSTGRES_URL names"),
    "42P01": Meaning(Outlook.LATER, "no such table", f"{_MIGRATE}: the table is missing"),
    "42703": Meaning(Outlook.LATER, "no such column", f"{_MIGRATE}: the table lacks a column", of_the_server=True),
    "42P10": Meaning(
        Outlook.LATER,
        "no such index",
        f"{_MIGRATE}: the table lacks its unique index on (device_id, ts)",
        of_the_server=True,
    ),
    "42501": Meaning(
        Outlook.LATER,
        "no permission",
        "grant INSERT, SELECT and UPDATE on positions to POSTGRES_URL's user, or run `telemetry migrate` as its owner",
    ),
}
#: What has no SQLSTATE of the table above, in the order in which it is looked at.
_BY_TYPE: Final[tuple[tuple[type[BaseException], Meaning], ...]] = (
    (
        asyncpg.PostgresError,
        Meaning(Outlook.LATER, "a trigger's error, row-level security: a row's, or the database's state"),
    ),
    (
        asyncpg.TargetServerAttributeNotMatched,
        Meaning(Outlook.SOON, "no host of the URL is the primary", "none of POSTGRES_URL's hosts takes writes"),
    ),
    (ConnectionResetError, _SESSION_LOST),
    (OSError, Meaning(Outlook.SOON, "nobody answers at that address, or not in time")),
    (asyncpg.InterfaceError, Meaning(Outlook.LATER, "the pool or the connection is closed", of_the_server=True)),
)
#: A defect, of ours or of the client library; nothing says that the rows are to blame, so they are kept.
_UNKNOWN: Final = Meaning(Outlook.LATER, "not an error of the database", severity=logging.ERROR)


def meaning_of(error: BaseException) -> Meaning:
    """Return what an error means, whatever it is."""
    state = getattr(error, "sqlstate", None) or ""
    known = _BY_STATE.get(state) or _BY_STATE.get(state[:2])
    return known or next((meaning for kind, meaning in _BY_TYPE if isinstance(error, kind)), _UNKNOWN)


def describe(error: BaseException) -> str:
    """Return an error in a few words, on one line, without the values of a statement."""
    # The details of a broken constraint are the row.
    said = error.args[0] if isinstance(error, asyncpg.IntegrityConstraintViolationError) and error.args else error
    text = " ".join(str(said).split()) or "no further word"
    return f"{type(error).__name__}: {text[:_LONGEST_DESCRIPTION]}"
