"""Being alone with a topic: no worker is alive, and none begins to read."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from faust_redis.group.changes import Changes
from faust_redis.group.lease import Leases, renewal_interval_s
from faust_redis.partitions.discovery import kinds
from faust_redis.redis import keys
from faust_redis.redis.client import Client, Script, execute
from faust_redis.redis.errors import ANY_REDIS_ERROR, FaustRedisError, PartitionLost
from faust_redis.redis.replies import facts, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence

    from faust_redis.options import RedisOptions

#: The leases of this name are a change's.
_NAME: Final = "partitions:"
#: Whoever goes on with a change that was killed waits for so long.
_TTL_MS: Final = 5000
#: Who broadcasts reads several times in a second.
_BROADCAST_SILENCE_MS: Final = 10_000
_LOOK_S: Final = 0.1


class WorkersAlive(FaustRedisError):  # noqa: N818 - a state of the workers, not a mistake
    """Workers are alive."""


class OtherReaders(FaustRedisError):  # noqa: N818 - a state of the streams, not a mistake
    """Others read the streams too."""


class ExclusiveAccess:
    """Holds the leases of streams, so that no worker takes one, and refuses where one is alive.

    Args:
        client: Redis.
        topic: Name of the topic.
        group: Name of the consumer group.
        options: Name of this process, and length of a lease.
    """

    def __init__(self, client: Client, topic: str, *, group: str, options: RedisOptions) -> None:
        self._client = client
        self._topic = topic
        self._group = group
        self._silence_ms = options.lease_ttl_ms
        self._leases = Leases(client, group=group, instance_id=_NAME + options.instance_id, ttl_ms=_TTL_MS)
        self._changes = Changes(client, topic, group=group, silence_ms=self._silence_ms)
        self.tokens: dict[str, str] = {}

    async def refuse_workers(self) -> None:
        """Look for workers that announce themselves.

        Raises:
            WorkersAlive: There are some.
        """
        if alive := (await self._changes.look()).alive:
            raise self._refusal(alive, self._silence_ms)

    async def refuse_readers(self, streams: Iterable[str], rebuilt: Collection[str], broadcast_prefix: str) -> None:
        """Look at who else reads streams.

        Args:
            streams: Those that nobody may broadcast.
            rebuilt: Those of them that no other group may read.
            broadcast_prefix: How the groups of a broadcast begin.

        Raises:
            WorkersAlive: A process that broadcasts is among them.
            OtherReaders: So are other groups, which would lose what they have not read.
        """
        others: set[str] = set()
        broadcasting: set[str] = set()
        for stream in await kinds(self._client, list(streams)):
            for info in await execute(self._client, "XINFO", "GROUPS", stream):
                name = text(facts(info)["name"])
                if not name.startswith(broadcast_prefix):
                    others.update({name} if stream in rebuilt else ())
                elif await self._is_reading(stream, name):
                    broadcasting.add(name.removeprefix(broadcast_prefix))
        if broadcasting:
            raise self._refusal(broadcasting, _BROADCAST_SILENCE_MS)
        if others - {self._group}:
            named = ", ".join(sorted(others - {self._group}))
            raise OtherReaders(
                f"the group {named} would lose what it has not read; remove it with XGROUP DESTROY when nobody needs it"
            )

    async def _is_reading(self, stream: str, group: str) -> bool:
        consumers = await execute(self._client, "XINFO", "CONSUMERS", stream, group)
        return any(int(facts(consumer)["idle"]) < _BROADCAST_SILENCE_MS for consumer in consumers)

    def _refusal(self, alive: Iterable[str], silence_ms: int) -> WorkersAlive:
        named = ", ".join(sorted(alive))
        return WorkersAlive(f"stop {named} first (one that was killed counts for {silence_ms / 1000:g} s more)")

    @contextlib.asynccontextmanager
    async def holding(self, streams: Sequence[str]) -> AsyncIterator[None]:
        """Hold the leases of streams for the time of the block.

        Raises:
            WorkersAlive: A worker holds one of them, or another process makes such a change.
        """
        # From the first one on: for another one we may have to wait.
        renewing = asyncio.create_task(self._renew())
        try:
            for stream in streams:
                self.tokens[stream] = await self._acquire(stream)
            yield
        finally:
            renewing.cancel()
            for stream, token in self.tokens.items():
                with contextlib.suppress(*ANY_REDIS_ERROR):
                    await self._leases.release(stream, token)
            self.tokens.clear()

    async def _acquire(self, stream: str) -> str:
        """Take a lease; one of another change may be left from a process that was killed, and ends by itself."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 2 * _TTL_MS / 1000
        while (token := await self._leases.acquire(stream)) is None:
            owner = (await self._leases.holders([stream])).get(stream)
            if owner and (not owner.startswith(_NAME) or loop.time() > deadline):
                raise self._refusal([owner], self._silence_ms)
            await asyncio.sleep(_LOOK_S)
        return token

    async def _renew(self) -> None:
        interval_s = renewal_interval_s(_TTL_MS)
        while True:
            await asyncio.sleep(interval_s)
            # Whatever is to be changed is refused when a lease is lost.
            with contextlib.suppress(*ANY_REDIS_ERROR):
                await self._leases.renew(self.tokens, timeout_s=interval_s)

    async def run(self, script: Script, stream: str, names: Sequence[str], *args: Any) -> int:
        """Run a script on keys of a stream that begins by looking at its lease.

        Raises:
            PartitionLost: The lease is no longer ours; nothing was changed.
        """
        token = self.tokens[stream]
        result = int(await script([keys.lease(stream, self._group), *names], [token, *args]))
        if not result:
            raise PartitionLost(stream)
        return result
