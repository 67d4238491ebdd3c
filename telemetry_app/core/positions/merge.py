"""What a record adds to the one that is stored with its device and time already."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec

from telemetry_app.database.errors import UNUSABLE_AFTER, describe, meaning_of
from telemetry_app.database.outage import Outage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from telemetry_app.core.positions.rows import Columns, DoubtColumns

    Key = tuple[str, float]

logger = logging.getLogger(__name__)

#: One statement looks at so many seconds, a week, which is what a chunk of a hypertable covers unless set otherwise: a
#: longer one would open every chunk in between, and look into each of them for each row.
_SPAN_S: Final = 7 * 86_400.0
# A plan for any times would name every chunk. The setting ends with the transaction.
_PLAN_FOR_THESE_TIMES: Final = "SET LOCAL plan_cache_mode = force_custom_plan"

# A row that a rule found faulty, or that is ahead of its append: a clock that was set right comes to its time again.
_IS_UNTRUE: Final = """
(positions.faulty AND positions.faulty_reason = ANY (ARRAY['ahead', 'null-island'])
 OR NOT positions.faulty AND positions.ts > positions.ingested_at)
"""
# LIMIT keeps the planner from reading a whole chunk for a join. Equal attributes, the usual case, are seen at once.
_FIND_ADDITIONS: Final = f"""
SELECT row.place::int4 - 1 AS index,
       (row.attributes::jsonb - ARRAY(SELECT jsonb_object_keys(stored.attributes)))::text AS attributes,
       stored.priority, stored.is_untrue, stored.is_there
FROM unnest($1::text[], $2::float8[], $3::int2[], $4::text[])
  WITH ORDINALITY AS row (device_id, ts, priority, attributes, place)
LEFT JOIN LATERAL (
    SELECT attributes::jsonb AS attributes, priority, {_IS_UNTRUE} AS is_untrue, true AS is_there FROM positions
    WHERE positions.device_id = row.device_id AND positions.ts = to_timestamp(row.ts)
      AND positions.ts BETWEEN to_timestamp($5) AND to_timestamp($6)
    LIMIT 1
) AS stored ON true
WHERE CASE
    WHEN stored.is_there IS NULL THEN true
    WHEN stored.is_untrue THEN true
    WHEN jsonb_typeof(stored.attributes) <> 'object' THEN false
    WHEN row.priority > coalesce(stored.priority, -32768) THEN true
    WHEN row.attributes::jsonb = stored.attributes THEN false
    ELSE row.attributes::jsonb || stored.attributes <> stored.attributes
END
ORDER BY row.place
"""  # noqa: S608 - our own condition

# Repeating this changes nothing: the row is not untrue any more.
_REPLACE: Final = f"""
UPDATE positions
SET latitude = row.latitude, longitude = row.longitude, altitude = row.altitude, angle = row.angle, speed = row.speed,
    satellites = row.satellites, priority = row.priority, codec = row.codec, attributes = row.attributes::jsonb,
    ingested_at = now(), faulty = false, faulty_reason = NULL
FROM unnest($1::text[], $2::float8[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[], $8::int2[],
            $9::int2[], $10::text[], $11::text[])
  AS row (device_id, ts, latitude, longitude, altitude, angle, speed, satellites, priority, codec, attributes)
WHERE positions.device_id = row.device_id AND positions.ts = to_timestamp(row.ts)
  AND positions.ts BETWEEN to_timestamp($12) AND to_timestamp($13) AND {_IS_UNTRUE}
"""  # noqa: S608 - our own condition

# What somebody else has merged since it was read is kept, so that repeating this changes nothing.
_ADD: Final = """
UPDATE positions
SET attributes = row.attributes::jsonb || positions.attributes, priority = greatest(positions.priority, row.priority)
FROM unnest($1::text[], $2::float8[], $3::int2[], $4::text[])
  WITH ORDINALITY AS row (device_id, ts, priority, attributes, place)
WHERE positions.device_id = row.device_id AND positions.ts = to_timestamp(row.ts)
  AND positions.ts BETWEEN to_timestamp($5) AND to_timestamp($6)
  AND (row.attributes::jsonb || positions.attributes <> positions.attributes
       OR row.priority > coalesce(positions.priority, -32768))
RETURNING row.place::int4 - 1 AS index
"""

#: Classes of SQLSTATE that pass: connections, transactions that met others, resources, an operator's or a limit's end.
_PASSING: Final = frozenset({"08", "25", "40", "53", "57"})


class _Additions:
    """What records, in their order, add to one stored row; of two values of an attribute the first one counts.

    Attributes:
        attributes: What the row lacks.
        priority: The greatest, the row's own included.
        records: How many of the records added something.
    """

    def __init__(self, priority: int | None) -> None:
        self.attributes: dict[str, msgspec.Raw] = {}
        self.priority = priority
        self.records = 0

    def add(self, attributes: dict[str, msgspec.Raw], priority: int) -> None:
        """Take what a record has and neither the row nor the records before it."""
        raises = self.priority is None or priority > self.priority
        if raises:
            self.priority = priority
        if raises or attributes.keys() - self.attributes.keys():
            self.attributes = attributes | self.attributes
            self.records += 1


class Merger:
    """Adds to stored rows what later records of the same device and time have and they have not.

    Attributes that are missing are added, those that are there keep their value, the priority becomes the greater one,
    and all else stays as the first record said. Only a row that cannot be true is replaced by a record that can: else
    the positions of a clock that was set right would be lost where it had been before. Repeating it changes nothing.

    A row that the database does not let be changed stays as it is, and the log says so. It also says when a row is
    neither new nor there: somebody's trigger has dropped it.
    """

    def __init__(self) -> None:
        self._drops = Outage(logger, "Storing positions")
        self._refusals = Outage(logger, "Merging records of one device and time")

    async def merge(
        self, connection: PoolConnectionProxy[Any], rows: Columns, doubts: DoubtColumns | None = None
    ) -> int:
        """Merge rows into those that are stored; return how many of them added something.

        Args:
            connection: Outside a transaction.
            rows: Each is stored, or has a stored row of its device and time.
            doubts: What speaks against the rows, if anything does.

        Raises:
            asyncpg.PostgresError: It failed in a way that passes, and nothing was changed.
            OSError: The connection is lost.
        """
        merged = 0
        try:
            async with _all_or_nothing(connection):
                await connection.execute(_PLAN_FOR_THESE_TIMES)
                for places in _by_time(rows[1]):
                    additions, replacing, dropped = await _find(connection, rows, doubts, places)
                    if dropped is not None:
                        self._note_dropped(dropped)
                    merged += await self._replace(connection, rows, replacing) if replacing else 0
                    merged += await self._add(connection, additions, sorted(additions))
        except asyncpg.InsufficientPrivilegeError as error:
            self._refused(error)
            return 0
        return merged

    async def _replace(self, connection: PoolConnectionProxy[Any], rows: Columns, places: Sequence[int]) -> int:
        """Put the rows at these places, which are in the order of their times, in place of stored ones."""
        columns = [[column[place] for place in places] for column in rows]
        times = columns[1]
        try:
            async with _all_or_nothing(connection):
                status = await connection.execute(_REPLACE, *columns, times[0], times[-1])
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "")[:2] in _PASSING:
                raise
            self._refused(error)
            return 0
        return int(status.rpartition(" ")[2])

    async def _add(
        self, connection: PoolConnectionProxy[Any], additions: dict[Key, _Additions], keys: Sequence[Key]
    ) -> int:
        """Change stored rows, halving them where one may not be changed; return how many records that merged."""
        if not keys:
            return 0
        try:
            # A savepoint: what is refused does not undo what is merged.
            async with _all_or_nothing(connection):
                changed = await _change(connection, additions, keys)
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "")[:2] in _PASSING or meaning_of(error).of_the_server:
                raise
            if len(keys) == 1:
                self._refused(error)
                return 0
            middle = len(keys) // 2
            first = await self._add(connection, additions, keys[:middle])
            return first + await self._add(connection, additions, keys[middle:])
        self._refusals.over()
        return sum(additions[key].records for key in changed)

    def _note_dropped(self, device_id: str) -> None:
        self._drops.failed(
            f"the database takes rows without an error and does not keep them, of device {device_id!r} for example, and"
            " they count as duplicates: look for a trigger, a rule or a job that drops or changes them"
        )

    def _refused(self, error: asyncpg.PostgresError) -> None:
        self._refusals.failed(
            f"a stored row may not be changed ({describe(error)}), so what came later counts as a duplicate: "
            "grant SELECT and UPDATE on positions to POSTGRES_URL's user, or look for a trigger or a policy"
        )


@contextlib.asynccontextmanager
async def _all_or_nothing(connection: PoolConnectionProxy[Any]) -> AsyncIterator[None]:
    """Run the block in a transaction, or below a savepoint of the one that there is.

    Behind a pooler the connection has been lent in a transaction, of which asyncpg's own knows nothing.
    """
    if connection.is_in_transaction():
        begin, end, undo = "SAVEPOINT merging", "RELEASE merging", "ROLLBACK TO merging; RELEASE merging"
    else:
        begin, end, undo = "BEGIN", "COMMIT", "ROLLBACK"
    await connection.execute(begin)
    try:
        yield
    except UNUSABLE_AFTER:
        raise
    except BaseException:
        if not connection.is_closed():
            await connection.execute(undo)
        raise
    await connection.execute(end)


def _by_time(times: Sequence[float]) -> Iterator[list[int]]:
    """Yield the places of the times, each in one group; no group spans more than a week."""
    group: list[int] = []
    for place in sorted(range(len(times)), key=times.__getitem__):
        if group and times[place] - times[group[0]] > _SPAN_S:
            yield group
            group = []
        group.append(place)
    if group:
        yield group


async def _find(
    connection: PoolConnectionProxy[Any], rows: Columns, doubts: DoubtColumns | None, places: Sequence[int]
) -> tuple[dict[Key, _Additions], list[int], str | None]:
    """Return what the rows at these places, which are in the order of their times, add to stored rows.

    Also the places of those that replace a stored row, which cannot be true as they can, and the device of one that has
    no stored row, if there is one.
    """
    device_ids, times, priorities, attributes = (
        [column[place] for place in places] for column in (rows[0], rows[1], rows[8], rows[10])
    )
    additions: dict[Key, _Additions] = {}
    replacing: dict[Key, int] = {}
    dropped = None
    for index, added, stored_priority, is_untrue, is_there in await connection.fetch(
        _FIND_ADDITIONS, device_ids, times, priorities, attributes, times[0], times[-1]
    ):
        key = (device_ids[index], times[index])
        if not is_there:
            dropped = device_ids[index]
            continue
        if is_untrue and (doubts is None or doubts[0][places[index]] is None):
            replacing.setdefault(key, places[index])
            continue
        to_row = additions.setdefault(key, _Additions(stored_priority))
        to_row.add(msgspec.json.decode(added, type=dict[str, msgspec.Raw]), priorities[index])
    return additions, list(replacing.values()), dropped


async def _change(
    connection: PoolConnectionProxy[Any], additions: dict[Key, _Additions], keys: Sequence[Key]
) -> list[Key]:
    """Change stored rows and return the keys of those that were; somebody else may have been faster."""
    times = [ts for _, ts in keys]
    changed = await connection.fetch(
        _ADD,
        [device_id for device_id, _ in keys],
        times,
        [additions[key].priority for key in keys],
        [msgspec.json.encode(additions[key].attributes).decode() for key in keys],
        min(times),
        max(times),
    )
    return [keys[row["index"]] for row in changed]
