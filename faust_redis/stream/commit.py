"""The commit: acknowledgement, dead letters and state changes of one batch in one fenced, atomic step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script
from faust_redis.redis.errors import PartitionLost, StateConflict
from faust_redis.redis.packing import packed
from faust_redis.redis.wire import DirectConnection
from faust_redis.stream.ledger import DELETED

if TYPE_CHECKING:
    from faust_redis.options import RedisOptions
    from faust_redis.stream.batch import RecordBatch, Verdict
    from faust_redis.stream.ledger import InFlight
    from faust_redis.stream.partition import Partition

#: An entry of more values goes to the dead letters packed: it travels with those of others.
_MOST_FIELDS = 2000
#: More deliveries than there ever are: while a partition is paused, refused entries stay pending.
_NEVER = 1 << 40


class CommitResult(NamedTuple):
    """What a commit did: entries acknowledged, and the verdicts that ended in the dead letters, in order."""

    acknowledged: int
    dead: list[Verdict]


class Committer:
    """Commits batches of one group; passing errors of Redis are raised, and the same commit may be sent again."""

    def __init__(self, client: Client, *, group: str, options: RedisOptions) -> None:
        self._group = group
        self._dead_letter_after = options.dead_letter_after
        self._afterwards = ("remove" if options.removes_committed else "keep", options.spared_groups)
        self._commit = Script(client, scripts.COMMIT, DirectConnection(client).execute)

    async def commit(self, partition: Partition, flight: InFlight) -> CommitResult:
        """Commit a settled batch.

        Sending it twice is harmless: the second one is recognised by the version that it would make, or finds nothing
        pending. One that arrives late, after other commits, is refused.

        Args:
            partition: Where the batch was read.
            flight: The batch and the changes it made.

        Raises:
            PartitionLost: The lease is no longer ours; nothing was changed.
            StateConflict: What is stored is not what the changes were computed from; nothing was changed.
        """
        batch = flight.batch
        limit = _NEVER if partition.paused else self._dead_letter_after
        args: list[Any] = [partition.token, self._group, limit, *self._afterwards]
        passed = [entry_id for entry_id, _ in batch.entries]
        verdicts = batch.refused.keys() | batch.buried.keys()
        if verdicts:
            passed = [entry_id for entry_id in passed if entry_id not in verdicts]
        args.append(b" ".join(passed))
        hashes = [keys.state(partition.stream, self._group, table) for table in flight.steps]
        for step in flight.steps.values():
            args += step
        judged = _add_verdicts(args, batch)
        for table in flight.steps:
            _add_changes(args, flight.changes[table])
        fixed = [
            keys.lease(partition.stream, self._group),
            partition.stream,
            keys.dead_letters(partition.stream),
        ]
        acknowledged, *outcomes = await self._commit([*fixed, *hashes], args)
        if acknowledged == scripts.LOST:
            raise PartitionLost(partition.stream)
        if acknowledged == scripts.CONFLICT:
            number, stored = outcomes
            expected = [step.before for step in flight.steps.values()][number]
            raise StateConflict(f"{hashes[number]} is at version {stored!r} instead of {expected!r}")
        return CommitResult(acknowledged, [v for v, dead in zip(judged, outcomes, strict=True) if dead])


def _add_verdicts(args: list[Any], batch: RecordBatch) -> list[Verdict]:
    """Append the refused and buried entries; return their verdicts in the same order."""
    judged: list[Verdict] = []
    at = len(args)
    args.append(0)
    for entry_id, fields in batch.entries if batch.refused or batch.buried else ():
        verdict = batch.buried.get(entry_id) or batch.refused.get(entry_id)
        if verdict is None:
            continue
        when = "always" if entry_id in batch.buried else "limit"
        kept = packed(fields, _MOST_FIELDS)
        args += (entry_id, when, verdict.detail, len(kept), *kept)
        judged.append(verdict)
    args[at] = len(judged)
    return judged


def _add_changes(args: list[Any], changes: dict[str, Any]) -> None:
    """Append one table's changes: keys to set, the lengths of their values, the values, and keys to delete.

    Values outside the msgpack, since that of Redis' Lua knows no binary type.
    """
    deleted = [key for key, value in changes.items() if value is DELETED]
    if deleted:
        changes = {key: value for key, value in changes.items() if value is not DELETED}
    values = changes.values()
    pack = msgspec.msgpack.encode
    args += (pack(list(changes)), pack(list(map(len, values))), b"".join(values), pack(deleted))
