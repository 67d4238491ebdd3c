"""Leases: who owns a partition, by a key with an expiry and a fencing token as its value."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script, execute
from faust_redis.redis.replies import text

if TYPE_CHECKING:
    from collections.abc import Iterable


#: Renewals in one lease time: two may fail before the lease is lost.
_RENEWALS_PER_TTL: Final = 3


def renewal_interval_s(ttl_ms: int) -> float:
    """Return how often something is renewed that lasts for so long."""
    return ttl_ms / 1000 / _RENEWALS_PER_TTL


class Leases:
    """Operations on the leases of one group. Errors of Redis are raised to the caller.

    A token names its owner and is new with every acquisition, so that an owner who lost and regained a partition
    cannot commit what it read before.
    """

    def __init__(self, client: Client, *, group: str, instance_id: str, ttl_ms: int) -> None:
        self._client = client
        self._group = group
        self._instance_id = instance_id
        self._ttl_ms = ttl_ms
        self._renew = Script(client, scripts.RENEW)
        self._release = Script(client, scripts.RELEASE)

    async def acquire(self, stream: str) -> str | None:
        """Take a free partition and return the fencing token, or return None when somebody holds it."""
        token = f"{self._instance_id}#{uuid.uuid4().hex}"
        key = keys.lease(stream, self._group)
        taken = await execute(self._client, "SET", key, token, "NX", "PX", self._ttl_ms)
        return token if taken else None

    async def renew(self, stream: str, token: str) -> bool:
        """Extend a lease; False when it is no longer ours."""
        return bool(await self._renew([keys.lease(stream, self._group)], [token, self._ttl_ms]))

    async def release(self, stream: str, token: str) -> None:
        """Give a lease back, if it is still ours."""
        await self._release([keys.lease(stream, self._group)], [token])

    async def holders(self, streams: Iterable[str]) -> dict[str, str]:
        """Return the instance id of each held partition's owner, by stream."""
        holders = {}
        for stream in streams:
            token = await execute(self._client, "GET", keys.lease(stream, self._group))
            if token:
                holders[stream] = text(token).rpartition("#")[0]
        return holders
