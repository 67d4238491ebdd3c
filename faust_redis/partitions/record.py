"""The number of partitions, and how records come to them, as it is recorded in Redis."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from faust_redis.partitions import scripts
from faust_redis.partitions.discovery import other_number
from faust_redis.redis import keys
from faust_redis.redis.client import Client, Script, execute
from faust_redis.redis.errors import Misconfigured, PartitionLost
from faust_redis.redis.replies import text

if TYPE_CHECKING:
    from faust_redis.options import RedisOptions

_FORM: Final = re.compile(r"(\d+)(?:>(\d+) (copying|copied) (\w+))?")


class OtherPartitions(Misconfigured):
    """The partitions are not as they are in Redis."""


class Recorded(NamedTuple):
    """What the record says: of how many partitions a topic is, or which change of that is under way.

    Attributes:
        before: The number, before the change.
        after: The number that is being changed to; the same when no change is under way.
        copied: Whether everything was copied, so that the change can only be finished.
        run: Name of the change, which is part of the names of its keys; empty when none is under way.
    """

    before: int
    after: int
    copied: bool = False
    run: str = ""

    def __str__(self) -> str:
        phase = "copied" if self.copied else "copying"
        return f"{self.before}>{self.after} {phase} {self.run}" if self.run else str(self.after)

    @classmethod
    def parse(cls, raw: bytes | str) -> Recorded:
        """Return what `str()` gave.

        Raises:
            Misconfigured: It is nothing of the kind.
        """
        match = _FORM.fullmatch(text(raw))
        if match is None:
            raise Misconfigured(f"the record of the number of partitions is {raw!r}")
        before, after, phase, run = match.groups()
        return cls(int(before), int(after or before), phase == "copied", run or "")


class PartitionRecord:
    """The record of one topic. Errors of Redis are raised to the caller.

    Args:
        client: Redis.
        topic: Name of the topic.
        group: Name of the consumer group, whose streams tell the number where none is recorded.
        options: How records come to the partitions; what the settings are called and what changes them, for refusals.
    """

    def __init__(self, client: Client, topic: str, *, group: str, options: RedisOptions) -> None:
        self._client = client
        self._topic = topic
        self._group = group
        self._options = options
        self._key = keys.partitions(topic)
        self._producer_key = keys.producer(topic)
        self._write = Script(client, scripts.SET)

    async def read(self) -> Recorded | None:
        """Return what is recorded; None when nothing is."""
        raw = await execute(self._client, "GET", self._key)
        return Recorded.parse(raw) if raw else None

    async def write(self, recorded: Recorded, token: str) -> None:
        """Record something, while the lease of the plain stream is held with this token.

        Raises:
            PartitionLost: It is not.
        """
        await self._set(self._key, str(recorded), token)

    async def settle(self, partitions: int, token: str) -> None:
        """Record that a topic is of so many partitions, to which records come as the options say.

        Raises:
            PartitionLost: The lease of the plain stream is not held with this token.
        """
        if self._options.producer:
            await self._set(self._producer_key, self._options.producer, token)
        await self._set(self._key, str(partitions), token)

    async def _set(self, key: str, value: str, token: str) -> None:
        if not await self._write([keys.lease(self._topic, self._group), key], [token, value]):
            raise PartitionLost(self._topic)

    async def why_not(self, wanted: int) -> str | None:
        """Return None when a topic is, or may be, of so many partitions, else what it is and what to do."""
        recorded = await self.read()
        if recorded is None:
            found = await other_number(self._client, self._topic, self._group, wanted)
            # Again: streams that another worker was just making are not those of another number.
            recorded = await self.read() or (Recorded(found, found) if found else Recorded(wanted, wanted))
        return self._refusal(recorded, wanted) or await self._other_producer(wanted)

    async def require(self, wanted: int) -> None:
        """Make sure that a topic is of so many partitions, and that it is recorded.

        Raises:
            OtherPartitions: It is of another number, or a change was not finished, or records come otherwise.
        """
        if refusal := await self.why_not(wanted):
            raise OtherPartitions(refusal)
        if not await execute(self._client, "SET", self._key, wanted, "NX"):
            recorded = await self.read()
            if recorded and (refusal := self._refusal(recorded, wanted)):
                raise OtherPartitions(refusal)
        if wanted > 1 and (producer := self._options.producer):
            await execute(self._client, "SET", self._producer_key, producer, "NX")
            if refusal := await self._other_producer(wanted):
                raise OtherPartitions(refusal)

    async def _other_producer(self, wanted: int) -> str | None:
        """Return None unless records come otherwise to several partitions; with one there is no difference."""
        setting, producer = self._options.producer_setting, self._options.producer
        raw = await execute(self._client, "GET", self._producer_key) if producer and wanted > 1 else None
        if raw is None or (recorded := text(raw)) == producer:
            return None
        return (
            f"{setting} is {producer}, but workers of {self._topic} have used {recorded}: set {setting}={recorded}, or"
            f" stop all workers and run `{self._options.partitions_command} {wanted}` with {setting}={producer}"
        )

    def _refusal(self, recorded: Recorded, wanted: int) -> str | None:
        setting, command = self._options.partitions_setting, f"{self._options.partitions_command} {wanted}"
        if recorded.run:
            change = f"a change from {recorded.before} to {recorded.after} partitions was not finished"
            return f"{setting} is {wanted}, but {change}: stop all workers and run `{command}`"
        number = recorded.after
        if number == wanted:
            return None
        shown = self._topic if number == 1 else f"{self._topic}:0 to {self._topic}:{number - 1}"
        return (
            f"{setting} is {wanted}, but Redis has the streams of {number} ({shown}): set {setting}={number},"
            f" or stop all workers and run `{command}`"
        )
