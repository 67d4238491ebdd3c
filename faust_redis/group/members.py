"""Who is alive: instances that announce themselves again and again, by the clock of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faust_redis.redis import scripts
from faust_redis.redis.client import Client, Script, execute
from faust_redis.redis.replies import text

if TYPE_CHECKING:
    from collections.abc import Sequence


class Members:
    """The live instances of one list, and this instance among them. Errors of Redis are raised to the caller.

    Args:
        client: Redis.
        key: Sorted set of the list: instance id by heartbeat in server milliseconds.
        instance_id: This instance.
        silence_ms: An instance that was silent for longer is gone.

    Attributes:
        alive: The live instances as of the last heartbeat, sorted.
    """

    def __init__(self, client: Client, key: str, *, instance_id: str, silence_ms: int) -> None:
        self._client = client
        self._key = key
        self._instance_id = instance_id
        self._silence_ms = silence_ms
        self._heartbeat = Script(client, scripts.HEARTBEAT)
        self.alive: Sequence[str] = ()

    async def heartbeat(self) -> Sequence[str]:
        """Announce this instance; return all live ones, sorted."""
        alive = await self._heartbeat([self._key], [self._instance_id, self._silence_ms])
        self.alive = sorted(map(text, alive))
        return self.alive

    async def leave(self) -> None:
        """Take this instance off the list."""
        await execute(self._client, "ZREM", self._key, self._instance_id)
