"""The numbered SQL files, and what a database's history of them means."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

State = Literal["applied", "pending", "changed", "unknown"]

_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class MigrationError(Exception):
    """The database cannot be brought to this release's schema; the message names the cause and the remedy."""


class MigrationBusyError(MigrationError):
    """Somebody else is migrating and takes long; nothing was changed, and trying again later is all one can do."""


class DriftError(MigrationError):
    """What the database has applied is not what the files say; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    sql: str
    checksum: str

    @property
    def file_name(self) -> str:
        """The name of the file."""
        return f"{self.version:04d}_{self.name}.sql"


@dataclass(frozen=True, slots=True)
class Applied:
    """One row of the history in the database."""

    version: int
    name: str
    checksum: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """How one migration stands; `unknown` is one that the database has and the files don't."""

    version: int
    name: str
    state: State
    applied_at: datetime | None


def load(folder: Traversable | None = None) -> list[Migration]:
    """Read the files of a folder, in order.

    Raises:
        MigrationError: A file is misnamed, or the numbers are not 1, 2, 3… without gaps.
    """
    folder = resources.files("migrations") if folder is None else folder
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".sql"))
    migrations = [_read(entry) for entry in sorted(files, key=lambda entry: entry.name)]
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise MigrationError(
                f"{migration.file_name} stands where number {expected:04d} belongs: "
                "number the files 0001, 0002, … without gaps or repeats."
            )
    return migrations


def _read(entry: Traversable) -> Migration:
    match = _FILE_NAME.fullmatch(entry.name)
    if match is None:
        raise MigrationError(f"{entry.name} is not named like 0001_what_it_does.sql: rename it.")
    content = entry.read_bytes()
    return Migration(int(match[1]), match[2], content.decode(), hashlib.sha256(content).hexdigest())


def pending_of(migrations: Sequence[Migration], history: Sequence[Applied]) -> Sequence[Migration]:
    """Return the migrations that are to be applied.

    Raises:
        DriftError: The past is not what the files say.
    """
    for position, applied in enumerate(history):
        label = f"{applied.version:04d}_{applied.name}.sql"
        if position >= len(migrations):
            raise DriftError(
                f"The database has {label}, which this release does not have: "
                "a newer release has migrated it, so run that one."
            )
        migration = migrations[position]
        if applied.version != migration.version:
            raise DriftError(
                f"The database has {label} but not {migration.file_name} before it: "
                "restore the missing row of schema_migrations or the database's backup."
            )
        if applied.checksum != migration.checksum:
            raise DriftError(
                f"{migration.file_name} was changed after it was applied on {applied.applied_at:%Y-%m-%d}: "
                "restore the file as it was and put the change into a new one."
            )
    return migrations[len(history) :]


def compare(migrations: Sequence[Migration], history: Sequence[Applied]) -> list[MigrationStatus]:
    """Return how each migration of the files or of the database stands, by version."""
    applied = {row.version: row for row in history}
    rows = [_status_of(migration, applied.pop(migration.version, None)) for migration in migrations]
    rows += [MigrationStatus(row.version, row.name, "unknown", row.applied_at) for row in applied.values()]
    return sorted(rows, key=lambda row: row.version)


def _status_of(migration: Migration, applied: Applied | None) -> MigrationStatus:
    if applied is None:
        return MigrationStatus(migration.version, migration.name, "pending", None)
    state: State = "applied" if applied.checksum == migration.checksum else "changed"
    return MigrationStatus(migration.version, migration.name, state, applied.applied_at)
