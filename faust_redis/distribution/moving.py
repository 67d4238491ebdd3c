"""Moving the entries of one stream to the partitions of a topic, each once, without a transaction over their slots."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from faust_redis.distribution.routing import Portion, route
from faust_redis.partitions.backlog import last_id
from faust_redis.partitions.discovery import group_of
from faust_redis.redis import distribution_scripts, keys, scripts
from faust_redis.redis.client import Client, Script, execute_all, is_cluster
from faust_redis.redis.errors import PASSING_ERRORS, PartitionLost, describe, is_no_group
from faust_redis.redis.replies import BEFORE_ALL, EntryId, streams
from faust_redis.redis.wire import DirectConnection
from faust_redis.stream.progress import Tally
from faust_redis.stream.reader import TOO_LARGE_DETAIL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from faust_redis.distribution.routing import KeyOf
    from faust_redis.redis.replies import Entry

logger = logging.getLogger(__name__)

#: How much another process moves again, by the ids, where a node may have died together with the distributor.
_OVERLAP_MS: Final = 10_000


class Tenure:
    """The time for which this process holds the lease of the source.

    Attributes:
        stream: Key of the source.
        token: Fencing token of the lease.
        leased_until_s: When the lease ends unless it is renewed, by `time.monotonic`.
        epoch: What partitions know this distributor by; 0 before the first one.
        position: The entry after which to go on; None before it is known.
        reached: The last entry that is distributed; the position may be before it.
        advanced: The group's last id, as far as this process has moved it.
        appended: The last entry that each partition has taken, by its stream.
        blocked: Why nothing can be appended to a partition until somebody mends it, by its stream.
        is_doubtful: Whether one may have lost some of that.
        tally: What became of the entries that were appended.
    """

    def __init__(self, stream: str, token: str, leased_until_s: float) -> None:
        self.stream = stream
        self.token = token
        self.leased_until_s = leased_until_s
        self.epoch = 0
        self.position: EntryId | None = None
        self.reached = BEFORE_ALL
        self.advanced = BEFORE_ALL
        self.tally = Tally()
        self.appended: dict[str, EntryId] = {}
        self.blocked: dict[str, str] = {}
        self.is_doubtful = False

    def go_on_after(self, position: EntryId) -> None:
        """Take note of how far everything is moved."""
        self.position = position
        self.reached = max(self.reached, position)

    @property
    def may_work(self) -> bool:
        """Whether anything may be moved: not after a pause longer than the lease, although nobody says it is gone."""
        return time.monotonic() < self.leased_until_s


class Mover:
    """Reads the source in order and appends what it finds to the partitions. Errors of Redis are raised to the caller.

    Nothing is claimed or pending: the group's last id is how far the source is distributed, and it is moved on when
    every partition has its part. So each step may be repeated, by whomever: a partition remembers its position, and
    refuses what comes from an epoch before the one it has seen last.

    When Redis refuses one partition's part, the others go on and the group stays where it is: once that partition is
    mended everything from there is moved again, of which the others have taken all.

    Somebody may delete the source, and producers begin another one, with lower ids where one of before was from the
    future. That is noticed by the group, which went with it, and partitions then forget their positions.

    A node of a cluster that dies may take with it what its replica had not got yet, while the group, on another node,
    is beyond that. So after a failure partitions are asked for their positions, and what one has lost is moved again.

    Args:
        client: Redis.
        source: Key of the stream that is distributed.
        partitions: Keys of the streams that it is distributed to.
        group: Name of the consumer group.
        key_of: Returns the key of an entry, which decides on its partition.
    """

    def __init__(self, client: Client, *, source: str, partitions: Sequence[str], group: str, key_of: KeyOf) -> None:
        self._client = client
        self._source = source
        self._partitions = partitions
        self._group = group
        self._key_of = key_of
        self._lease = keys.lease(source, group)
        self._reads = DirectConnection(client)
        self._create_group = Script(client, scripts.CREATE_GROUP)
        self._begin_epoch = Script(client, distribution_scripts.BEGIN_EPOCH)
        self._forget_position = Script(client, distribution_scripts.FORGET_POSITION)
        self._append = Script(client, distribution_scripts.APPEND)
        self._advance = Script(client, distribution_scripts.ADVANCE)
        self._pass_over = Script(client, distribution_scripts.PASS_OVER)

    async def begin(self, tenure: Tenure) -> bool:
        """Find out where to go on, under a new epoch.

        Returns whether the source is another stream than the one that was distributed, so that all of it is to come.

        Raises:
            PartitionLost: The lease is no longer ours.
        """
        await self._renew_epoch(tenure, met=tenure.epoch)
        # Before there is a group: until then it can be told that there was none.
        is_another = await self._place() == BEFORE_ALL and await self._begin_anew(tenure)
        created = await self._create_group([self._lease, self._source], [tenure.token, self._group])
        if created == scripts.LOST:
            raise PartitionLost(self._source)
        place = await self._place()
        overlaps = is_cluster(self._client)
        tenure.go_on_after(EntryId(max(0, place.ms - _OVERLAP_MS), 0) if overlaps else place)
        tenure.reached = tenure.advanced = place
        tenure.blocked.clear()
        logger.info("distributing %s after %s, epoch %d", self._source, place, tenure.epoch)
        return is_another

    async def _begin_anew(self, tenure: Tenure) -> bool:
        """Let partitions forget their positions if nothing of the source can have come to them; tell whether.

        A source without a group has lost it, or everything: then its last id is below that of what was distributed.
        """
        questions = [("HGET", keys.distribution(stream), "position") for stream in self._partitions]
        replies = await execute_all(self._client, questions, raises=False)
        stored, refused = [], []
        for stream, reply in zip(self._partitions, replies, strict=True):
            if isinstance(reply, PASSING_ERRORS):
                raise reply
            if isinstance(reply, Exception):
                refused.append(reply)
            else:
                stored.append((EntryId.parse(reply or b"0-0"), stream))
        there = await last_id(self._client, self._source)
        reached, _ = max(stored, default=(BEFORE_ALL, ""))
        if reached <= there:
            return False
        if refused:  # one that keeps its position would take nothing, without a word
            raise refused[0]
        logger.error(
            "%s was deleted, or is another stream: its last id is %s, and entries until %s had been distributed;"
            " distributing it from its beginning", self._source, there, reached,
        )  # fmt: skip
        # The greatest last, by which whoever goes on after a crash sees what is still to be done.
        for _, stream in sorted(stored):
            while met := await self._forget_position([keys.distribution(stream)], [tenure.epoch]):
                await self._renew_epoch(tenure, met=met)
        return True

    async def reassure(self, tenure: Tenure) -> None:
        """After a failure go back to where a partition has lost what it took. One that was emptied is left."""
        appended = {stream: last for stream, last in tenure.appended.items() if stream not in tenure.blocked}
        if is_cluster(self._client) and appended:
            positions = [("HGET", keys.distribution(stream), "position") for stream in appended]
            stored = [EntryId.parse(position or b"0-0") for position in await execute_all(self._client, positions)]
            taken = zip(appended.items(), stored, strict=True)
            lost = {stream: there for (stream, last), there in taken if BEFORE_ALL < there < last}
            if lost:
                logger.warning("moving again what nodes have lost of %s", ", ".join(sorted(lost)))
                tenure.position = min(lost.values())
                tenure.appended.update(lost)
        tenure.is_doubtful = False

    async def _place(self) -> EntryId:
        """Return the group's last id; without a group the very beginning, and moving notices that there is none."""
        try:
            group = await group_of(self._client, self._source, self._group)
        except ResponseError as error:
            if not is_no_group(error):
                raise
            return BEFORE_ALL
        return EntryId.parse(group["last-delivered-id"]) if group else BEFORE_ALL

    async def read(self, tenure: Tenure, *, count: int, block_ms: int) -> list[Entry]:
        """Return the entries that come next; none when there are none in time."""
        reply = await self._reads.execute(
            "XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", self._source, str(tenure.position)
        )
        return next((entries for _, entries in streams(reply)), [])

    @property
    def reply_bytes(self) -> int | None:
        """Size of what was read last; None when nobody knows."""
        return self._reads.reply_bytes

    async def pass_over(self, tenure: Tenure) -> bytes | None:
        """Go on behind the next entry, which is too large to be read: it goes to the source's dead letters.

        Returns its id; None when there is none, or it is there already.

        Raises:
            PartitionLost: The lease is no longer ours.
        """
        passed = await self._pass_over(
            [self._lease, self._source, keys.dead_letters(self._source)],
            [tenure.token, self._group, str(tenure.position), TOO_LARGE_DETAIL],
        )
        if passed == [scripts.LOST]:
            raise PartitionLost(self._source)
        if not passed:
            return None
        entry_id, is_new = passed
        tenure.tally.received(is_new)
        tenure.go_on_after(EntryId.parse(entry_id))
        tenure.advanced = max(tenure.advanced, tenure.reached)
        return bytes(entry_id) if is_new else None

    async def move(self, tenure: Tenure, entries: Sequence[Entry]) -> int:
        """Append entries to their partitions and move the position behind them; harmless to do twice.

        Returns how many of them had not been distributed.

        Raises:
            PartitionLost: The lease is no longer ours.
        """
        portions = {
            self._partitions[number]: portion
            for number, portion in route(entries, len(self._partitions), self._key_of).items()
        }
        appended = await self._append_all(tenure, {stream: portion.arguments() for stream, portion in portions.items()})
        tenure.appended.update((s, portion.last) for s, portion in portions.items() if s not in tenure.blocked)
        last, fresh = entries[-1][0], _number_after(tenure.reached, entries)
        if tenure.blocked:
            moved, distributed = None, appended
        else:
            passed = _number_after(tenure.advanced, entries)
            moved = await self._advance([self._lease, self._source], [tenure.token, self._group, last, passed])
            if moved == scripts.LOST:
                raise PartitionLost(self._source)
            distributed = fresh if passed == fresh else appended
            tenure.advanced = max(tenure.advanced, EntryId.parse(last))
        tenure.tally.received(fresh)
        tenure.go_on_after(EntryId.parse(last))
        if moved == distribution_scripts.GONE:
            tenure.position = None
        return distributed

    async def unblock(self, tenure: Tenure) -> None:
        """Try whether partitions that were blocked can be appended to, and go back to where these are."""
        blocked, tenure.blocked = tenure.blocked, {}
        await self._append_all(tenure, dict.fromkeys(blocked, Portion().arguments()), said=blocked)
        if freed := blocked.keys() - tenure.blocked.keys():
            logger.info("distributing to %s again", ", ".join(sorted(freed)))
            tenure.position = await self._place()

    async def _append_all(
        self, tenure: Tenure, packed: Mapping[str, list[Any]], said: Mapping[str, str] | None = None
    ) -> int:
        """Append to the partitions that are not blocked, and block those that refuse; return how much was appended."""
        while True:
            streams = [stream for stream in packed if stream not in tenure.blocked]
            replies = await self._append.each(
                [([stream, keys.distribution(stream)], [tenure.epoch, *packed[stream]]) for stream in streams]
            )
            appended, met = 0, 0
            for stream, reply in zip(streams, replies, strict=True):
                if isinstance(reply, PASSING_ERRORS):
                    raise reply
                if why := _refusal(stream, reply):
                    tenure.blocked[stream] = why
                    if why not in (said or {}).values():
                        logger.error("%s; the other partitions go on", why)
                else:
                    appended, met = appended + max(reply[0], 0), max(met, reply[1])
            if not met:
                return appended
            logger.warning("distributing %s: epoch %d was met in %d", self._source, met, tenure.epoch)
            await self._renew_epoch(tenure, met=met)

    async def _renew_epoch(self, tenure: Tenure, *, met: int) -> None:
        epoch = await self._begin_epoch([self._lease, keys.distribution(self._source)], [tenure.token, met])
        if epoch == scripts.LOST:
            raise PartitionLost(self._source)
        tenure.epoch = epoch


def _refusal(stream: str, reply: Any) -> str | None:
    """Return why a partition can take nothing, and what to do, if it is for people to mend."""
    if isinstance(reply, Exception):
        return f"nothing can be appended to {stream} ({describe(reply)}): mend it or {keys.distribution(stream)}"
    if reply[0] == distribution_scripts.EXHAUSTED:
        return (
            f"nothing can be appended to {stream}, which has had the greatest id that there is: when all of it is read"
            f" and acknowledged (lag and pending are 0), DEL {stream}"
        )
    return None


def _number_after(reached: EntryId, entries: Sequence[Entry]) -> int:
    if EntryId.parse(entries[0][0]) > reached:
        return len(entries)
    return sum(EntryId.parse(entry_id) > reached for entry_id, _ in entries)
