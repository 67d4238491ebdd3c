"""Leases: who owns a partition, by a key with an expiry and a fencing token as its value."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script, execute
from faust_redis.redis.errors import is_wrong_type
from faust_redis.redis.nodes import ask_nodes
from faust_redis.redis.replies import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
        self._extend = Script(client, scripts.RENEW)
        self._release = Script(client, scripts.RELEASE)

    async def acquire(self, stream: str) -> str | None:
        """Take a free partition and return the fencing token, or return None when somebody holds it."""
        token = f"{self._instance_id}#{uuid.uuid4().hex}"
        key = keys.lease(stream, self._group)
        taken = await execute(self._client, "SET", key, token, "NX", "PX", self._ttl_ms)
        return token if taken else None

    async def renew(self, tokens: Mapping[str, str], *, timeout_s: float) -> dict[str, bool | Exception]:
        """Extend leases, in one round trip to each server, as one by one hundreds take too long on a slow line.

        Args:
            tokens: By stream.
            timeout_s: A server that is silent for so long fails the leases that it has, and holds up no others.

        Returns:
            By stream whether the lease is still ours, or what failed.
        """
        by_key = {keys.lease(stream, self._group): stream for stream in tokens}
        commands = {key: self._extend.command([key], [tokens[stream], self._ttl_ms]) for key, stream in by_key.items()}
        replies = await ask_nodes(self._client, commands, timeout_s=timeout_s)
        if await self._extend.was_missing(replies.values()):
            replies = await ask_nodes(self._client, commands, timeout_s=timeout_s)
        return {by_key[key]: reply if isinstance(reply, Exception) else bool(reply) for key, reply in replies.items()}

    async def release(self, stream: str, token: str) -> None:
        """Give a lease back, if it is still ours."""
        await self._release([keys.lease(stream, self._group)], [token])

    async def holders(self, streams: Iterable[str]) -> dict[str, str]:
        """Return the instance id of each held partition's owner, by stream; what is no lease is its own owner."""
        by_key = {keys.lease(stream, self._group): stream for stream in streams}
        tokens = await ask_nodes(self._client, {key: ("GET", key) for key in by_key})
        return {by_key[key]: _owner(key, token) for key, token in tokens.items() if token}


def _owner(key: str, token: bytes | str | Exception) -> str:
    if isinstance(token, Exception):
        if is_wrong_type(token):
            # It must not hold up the other partitions.
            return f"a key of another type ({key})"
        raise token
    return text(token).rpartition("#")[0] or text(token)
