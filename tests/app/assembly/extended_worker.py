"""A worker with a second database and a second computation, which kills itself between the two when told to.

`python -m tests.app.assembly.extended_worker` runs it; `CRASH_BETWEEN` is `sinks`, `folds` or unset. What a developer
would write into `build_sinks` and into `tables/folds.py` is put there from outside.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from telemetry_app.assembly import write_side
from telemetry_app.cli import main
from tests.app.core.sinks import SpeedSink
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from faust_redis.redis.replies import EntryId
    from telemetry_app.assembly.operations import Operations
    from telemetry_app.core.sink import Refused, Sink
    from telemetry_app.database.postgres import Postgres
    from telemetry_app.records.position import Position
    from telemetry_app.settings import Settings

TABLE = "speed_sums"
_HAS_ROWS: Final = "SELECT count(*) >= $1 FROM positions"
CRASH_BETWEEN = os.environ.get("CRASH_BETWEEN")

build_positions = write_side.build_sinks


class FatalSink(SpeedSink):
    """Ends the process when the other database has the batch and this one has not."""

    async def write(self, positions: Sequence[Position]) -> Sequence[Refused]:
        if CRASH_BETWEEN == "sinks":
            async with self.postgres.acquire() as connection:
                await eventually(lambda: connection.fetchval(_HAS_ROWS, len(positions)))
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().write(positions)


def build_sinks(
    settings: Settings, operations: Operations, postgres: Postgres, *others: Any, **named: Any
) -> tuple[Sink, ...]:
    """Return the sinks of a worker and one more, whatever else these are built with."""
    return (*build_positions(settings, operations, postgres, *others, **named), FatalSink(postgres))


def sum_speeds(
    sums: Mapping[str, bytes],
    positions: Sequence[Position],
    first_id: EntryId,  # noqa: ARG001 - a fold's
) -> dict[str, bytes]:
    """Return the sum of each device's speeds: a record that counts twice shows."""
    if CRASH_BETWEEN == "folds":
        os.kill(os.getpid(), signal.SIGKILL)
    changes: dict[str, float] = {}
    for position in positions:
        device_id = position.device_id
        if device_id not in changes:
            known = sums.get(device_id)
            changes[device_id] = 0.0 if known is None else msgspec.msgpack.decode(known)
        changes[device_id] += position.speed
    return {device_id: msgspec.msgpack.encode(total) for device_id, total in changes.items()}


def extend() -> None:
    """Add the second fold, then let the worker import its agents."""
    from tables import folds  # noqa: PLC0415 - after the sinks are in their place
    from telemetry_app.app import app  # noqa: PLC0415 - the same
    from telemetry_app.core.fold import Fold  # noqa: PLC0415 - the same

    table = app.Table(TABLE, value_type=float)
    folds.FOLDS = (*folds.FOLDS, Fold(table, sum_speeds))  # type: ignore[misc, assignment]  # as if it stood in the file


if __name__ == "__main__":
    write_side.build_sinks = build_sinks  # as if it stood in the file
    extend()
    main(["worker"])
