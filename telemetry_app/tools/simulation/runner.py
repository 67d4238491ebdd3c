from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry_app.tools.simulation.publisher import Publisher
    from telemetry_app.tools.simulation.race import Race
    from telemetry_app.tools.simulation.record import Record

# Keeps memory flat however long the backlog is, and gives other tasks their turn.
_BURST_RECORDS = 1000


async def run_race(
    publisher: Publisher,
    race: Race,
    *,
    duration_s: float | None,
    burst: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Publish a race by the clock on the wall.

    A tick that is late, because Redis or this machine was, is made up for as fast as possible.

    Args:
        publisher: To publish with.
        race: Fresh.
        duration_s: Of the live ticks; None is for ever.
        burst: Records that are published before them, as fast as possible: a backlog.
        on_progress: Called with the number of records published, after each batch and tick.

    Returns:
        Records published, by kind.

    Raises:
        PublishError: Redis refuses records for good, or was away for too long.
    """
    kinds: Counter[str] = Counter()

    async def publish(records: list[Record]) -> None:
        await publisher.publish(records)
        kinds.update(record.kind.value for record in records)
        if on_progress is not None:
            on_progress(publisher.published)
        # The Redis client waits by Python 3.11's wait_for, which swallows a cancellation that comes with its result.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError

    loop = asyncio.get_running_loop()
    # Before the backlog: what is due by the time that it is out is late, too.
    started = loop.time()
    backlog = race.backlog(burst)
    while batch := list(islice(backlog, _BURST_RECORDS)):
        await publish(batch)
    ticks = 0
    while duration_s is None or ticks < duration_s * race.hz:
        await asyncio.sleep(max(0.0, started + ticks / race.hz - loop.time()))
        await publish(race.tick())
        ticks += 1
    return dict(kinds)
