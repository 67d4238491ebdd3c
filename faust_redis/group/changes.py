"""Noticing soon what other workers do: somebody comes, leaves, falls silent, or gives a partition back."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script, execute
from faust_redis.redis.replies import text
from faust_redis.redis.wire import DirectConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How long the mark is kept when nothing changes any more.
_KEPT_MS: Final = 86_400_000


class Sight(NamedTuple):
    """What a worker sees of the others; another one than before is a reason to look at the leases.

    Attributes:
        mark: Changes whenever somebody says so.
        alive: The live workers, sorted.
    """

    mark: bytes
    alive: Sequence[str]


class Changes:
    """Tells the workers of a topic of changes, by one key that all of them ask for again and again.

    A question is one small script; looking at every lease as often would cost far more, and a subscription would need
    a connection and a right of its own. Errors of Redis are raised to the caller.

    Args:
        client: Redis.
        topic: The topic that is shared out.
        group: Name of the consumer group.
        silence_ms: A worker that was silent for longer is gone.
    """

    def __init__(self, client: Client, topic: str, *, group: str, silence_ms: int) -> None:
        self._client = client
        self._mark = keys.changes(topic, group)
        self._workers = keys.workers(topic, group)
        self._silence_ms = silence_ms
        self._look = Script(client, scripts.LOOK, DirectConnection(client).execute)

    async def look(self) -> Sight:
        """Return what there is to see now."""
        mark, alive = await self._look([self._workers, self._mark], [self._silence_ms])
        return Sight(mark, sorted(map(text, alive)))

    async def tell(self) -> None:
        """Let all workers look."""
        await execute(self._client, "SET", self._mark, secrets.token_hex(8), "PX", _KEPT_MS)
