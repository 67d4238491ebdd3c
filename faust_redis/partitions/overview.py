"""What is to be known about each partition of a topic, and about the stream that is distributed to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faust_redis.group.lease import Leases
from faust_redis.partitions.backlog import pending_page
from faust_redis.partitions.discovery import group_of, kinds
from faust_redis.redis import keys
from faust_redis.redis.client import Client, execute
from faust_redis.redis.errors import Misconfigured, own_errors
from faust_redis.redis.replies import EntryId, facts, text
from faust_redis.stream.versions import FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faust_redis.options import RedisOptions


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition, or the plain stream beside several of them.

    Attributes:
        partition: Its number; None for the plain stream.
        stream: Its stream.
        owner: Instance that holds its lease, of the plain stream the one that distributes it; None when nobody does.
        lag: Entries that the group has not read; None when Redis does not know.
        pending: Entries delivered and not acknowledged.
        oldest_pending_s: How long ago the oldest of these was appended; None when there are none.
        state_size: Keys in its tables.
    """

    partition: int | None
    stream: str
    owner: str | None
    lag: int | None
    pending: int
    oldest_pending_s: float | None
    state_size: int


async def overview(
    client: Client, topic: str, partitions: int, *, group: str, options: RedisOptions, tables: Iterable[str]
) -> list[PartitionStatus]:
    """Look at each partition of a topic, and before these at its plain stream if there is one beside them.

    Raises:
        Unavailable: Redis does not answer.
        Misconfigured: Redis refuses, or the key of a partition is of another type.
    """
    with own_errors():
        numbers: dict[str, int | None] = {topic: None}
        numbers |= {keys.partition_stream(topic, number, partitions): number for number in range(partitions)}
        leases = Leases(client, group=group, instance_id=options.instance_id, ttl_ms=options.lease_ttl_ms)
        owners = await leases.holders(numbers)
        found = await kinds(client, list(numbers))
        statuses = []
        for stream, number in numbers.items():
            kind = found.get(stream)
            if number is None and kind != "stream":
                continue
            if kind not in {"stream", None}:
                raise Misconfigured(f"{stream} should be a stream and is a {kind}")
            lag, pending, oldest_s = await waiting(client, stream, group) if kind else (0, 0, None)
            if lag is None and number is not None and options.removes_committed:
                lag = await _beside_pending(client, stream, group, options.spared_groups)
            size = 0
            for table in tables:
                hash_key = keys.state(stream, group, table)
                size += await execute(client, "HLEN", hash_key) - bool(await execute(client, "HGET", hash_key, FIELD))
            statuses.append(PartitionStatus(number, stream, owners.get(stream), lag, pending, oldest_s, size))
        return statuses


async def waiting(client: Client, stream: str, group: str) -> tuple[int | None, int, float | None]:
    """Return lag, number of pending entries, and age of the oldest of these in seconds, of a stream that is there."""
    known = await group_of(client, stream, group)
    if known is None:
        return await execute(client, "XLEN", stream), 0, None
    lag, pending, oldest_s = known.get("lag"), int(known["pending"]), None
    if pending and (first := await pending_page(client, stream, group, "-", 1)):
        # By a script, since a cluster has several clocks.
        seconds, microseconds = await execute(client, "EVAL", "return redis.call('TIME')", 1, stream)
        age_s = int(seconds) + int(microseconds) / 1e6 - EntryId.parse(first[0]).ms / 1000
        oldest_s = round(max(age_s, 0.0), 1)
    return None if lag is None else int(lag), pending, oldest_s


async def _beside_pending(client: Client, stream: str, group: str, spared: str) -> int | None:
    """Return how many entries have not been read where those that were leave when they are committed.

    Redis does not know it while an older one is pending, as it has lost count by those that left after that. What is
    there is then pending or unread, unless another group keeps what this one has committed.
    """
    groups = {text(said["name"]): said for said in map(facts, await execute(client, "XINFO", "GROUPS", stream))}
    if any(name != group and not (spared and name.startswith(spared)) for name in groups):
        return None
    return max(0, int(await execute(client, "XLEN", stream)) - int(groups[group]["pending"]))
