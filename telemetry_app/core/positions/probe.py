"""Whether the database would take another row now, asked without leaving one behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncpg.pool import PoolConnectionProxy

# The newest row of another device, or where there is none of the same, a microsecond later: it meets the same triggers,
# policies, constraints and rights as the row in question, and has met them before. ON CONFLICT needs the unique index.
_INSERT_LIKE_THE_NEWEST: Final = """
INSERT INTO positions (device_id, ts, latitude, longitude, altitude, angle, speed, satellites, priority, codec,
                       attributes)
SELECT device_id, ts + interval '1 microsecond', latitude, longitude, altitude, angle, speed, satellites, priority,
       codec, attributes
FROM (SELECT * FROM positions ORDER BY ts DESC LIMIT 1000) AS newest
ORDER BY device_id = ANY($1::text[]), ts DESC
LIMIT 1
ON CONFLICT (device_id, ts) DO NOTHING
"""


async def takes_a_row(connection: PoolConnectionProxy[Any], devices: Iterable[str]) -> bool:
    """Insert a row, of another device than these if there is one, and roll it back.

    Returns:
        Whether there was a row to try it with.

    Raises:
        asyncpg.PostgresError: The database does not take it.
        OSError: The connection is lost.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        # An id with a NUL is none of those that are stored, and no statement takes it.
        others_than = [device for device in devices if "\0" not in device]
        status: str = await connection.execute(_INSERT_LIKE_THE_NEWEST, others_than)
        # What would only be looked at by the commit.
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    finally:
        if not connection.is_closed():
            await transaction.rollback()
    return status.endswith(" 1")
