"""Letting copies take the places of what they were copied from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redis.exceptions import NoPermissionError, ResponseError

from faust_redis.partitions import scripts
from faust_redis.partitions.discovery import kinds
from faust_redis.redis import keys
from faust_redis.redis.client import Client, Script, execute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust_redis.partitions.exclusive import ExclusiveAccess
    from faust_redis.partitions.layout import Layout
    from faust_redis.partitions.sources import Sources

#: Entries appended by one script.
_PAGE: Final = 500


class Places:
    """Puts copies in their places, stream by stream. Each step may be done again, and only while its lease is held.

    Args:
        client: Redis.
        access: Holds the leases.
    """

    def __init__(self, client: Client, access: ExclusiveAccess) -> None:
        self._client = client
        self._access = access
        self._set = Script(client, scripts.SET)
        self._switch = Script(client, scripts.SWITCH)
        self._retire = Script(client, scripts.RETIRE)
        self._remove = Script(client, scripts.REMOVE)
        self._settle = Script(client, scripts.SETTLE)
        self._append = Script(client, scripts.APPEND)
        self._fence = Script(client, scripts.FENCE)

    async def require_permissions(self, stream: str) -> None:
        """Try what only scripts do in the end, so that they do not fail when everything is copied.

        Raises:
            redis.exceptions.NoPermissionError: A command is not permitted.
        """
        nothing = keys.moving(stream, "nothing", "nothing")
        await execute(self._client, "UNLINK", nothing)
        try:
            await execute(self._client, "RENAME", nothing, nothing)
        except NoPermissionError:
            raise
        except ResponseError:
            return

    async def note(self, layout: Layout, sources: Sources) -> None:
        """Note until which entry each stream is copied, and keep distributors out that were paused."""
        for stream in sources.streams:
            until = sources.until.get(stream)
            if until is not None:
                await self._access.run(self._set, stream, [layout.until(stream)], str(until))
            if sources.epoch:
                await self._access.run(self._fence, stream, [keys.distribution(stream)], sources.epoch + 1)

    async def remove_copies(self, layout: Layout, streams: Sequence[str]) -> None:
        """Remove what a change has copied that ended before all was."""
        for stream in dict.fromkeys([*layout.streams, *streams]):
            copies = [layout.copied(stream), layout.until(stream), *layout.copies_beside(stream).values()]
            await self._access.run(self._remove, stream, copies)

    async def take(self, layout: Layout, streams: Sequence[str], *, distributed: bool) -> int:
        """Let the copies be what there is, and nothing else; return how many entries came since they were made.

        Args:
            layout: That of the change.
            streams: Those that there are.
            distributed: Whether what comes to the plain stream is for workers to distribute.
        """
        late = 0
        for stream in layout.streams:
            late += await self._switch_one(layout, stream)
        for stream in streams:
            if stream not in layout.streams:
                plain = stream == layout.topic
                names = [stream, layout.until(stream), *layout.beside(stream)]
                left = await self._access.run(self._retire, stream, names, layout.group, "keep" if plain else "remove")
                late += 0 if plain and distributed else left - 1
        return late

    async def _switch_one(self, layout: Layout, stream: str) -> int:
        copied, until = layout.copied(stream), layout.until(stream)
        pairs = [name for pair in layout.copies_beside(stream).items() for name in pair]
        if not layout.stays(stream):
            return await self._access.run(self._switch, stream, [copied, until, *pairs, stream, copied], stream) - 1
        if await kinds(self._client, [copied]):
            await self._access.run(self._settle, stream, [stream, until], layout.group)
            while await self._access.run(self._append, stream, [stream, copied], layout.group, _PAGE) > 1:
                pass
        return await self._access.run(self._switch, stream, [copied, until, *pairs], "") - 1
