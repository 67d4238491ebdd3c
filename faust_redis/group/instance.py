"""The name of a process: held by one at a time, so that no two share a member or a group of the streams."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mode import Service

from faust_redis.group.lease import renewal_interval_s
from faust_redis.redis import keys, scripts
from faust_redis.redis.client import Client, Script, close, connect, drop_connections
from faust_redis.redis.errors import ANY_REDIS_ERROR, InstanceTaken, describe, severity
from faust_redis.redis.replies import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from faust_redis.options import RedisOptions

logger = logging.getLogger(__name__)

#: How often a name is asked for that another process has.
_LOOK_S: Final = 0.2
#: So many renewals prove nothing: one that was sent before its process was killed may arrive late.
_LATE_RENEWALS: Final = 1
#: How long a stopping process tries to give its name back.
_SHUTDOWN_TIMEOUT_S: Final = 1.0


class InstanceName(Service):
    """Holds the instance id of this process, as a lease is held.

    Each renewal leaves another value, which is how a newcomer tells a process that lives from one that was killed,
    whose name is free when the lease time is over.

    Args:
        url: Redis, with a connection of its own.
        topic: Topic whose streams are read under this name.
        options: The name, how long it lasts without renewal, and whom to tell.
        stopping: Whether the application is stopping, so that nobody waits for a name any more.
    """

    logger = logger

    def __init__(
        self, url: str, topic: str, *, options: RedisOptions, stopping: Callable[[], bool], **kwargs: Any
    ) -> None:
        self._url = url
        self._options = options
        self._stopping = stopping
        self._key = keys.instance(topic, options.instance_id)
        self._token = secrets.token_hex(8)
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._renewals = 0
        self._held_until_s = float("-inf")
        self._client: Client | None = None
        super().__init__(**kwargs)

    @property
    def held(self) -> bool:
        """Whether the name is certainly this process's: not after a pause in which somebody else may have taken it."""
        return time.monotonic() < self._held_until_s

    async def claim(self) -> None:
        """Take the name, after waiting for the end of a process that was killed; later if Redis does not answer.

        Raises:
            InstanceTaken: A process that lives has it.
        """
        said: set[str] = set()
        while not self._stopping():
            try:
                other = await self._keep()
            except ANY_REDIS_ERROR as error:
                logger.log(severity(error), "the name of this process is claimed later (%s)", describe(error))
                return
            if other is None:
                return
            if not said:
                ttl_s = self._options.lease_ttl_ms / 1000
                logger.warning("waiting up to %g s to see whether %s still lives", ttl_s, _who(other))
            said.add(other)
            if len(said) > _LATE_RENEWALS + 1:
                raise self._taken(other)
            await asyncio.sleep(_LOOK_S)

    async def _keep(self) -> str | None:
        """Take the name or renew it; return what the process says that has it instead."""
        if self._client is None:
            self._client = connect(self._url, bounded=True)
        asked_s = time.monotonic()
        self._renewals += 1
        said = f" {self._renewals} {socket.gethostname()} {os.getpid()} {self._since}"
        ttl_ms = self._options.lease_ttl_ms
        other = text(await Script(self._client, scripts.KEEP_NAME)([self._key], [self._token, said, ttl_ms]))
        if other:
            return other
        self._held_until_s = asked_s + ttl_ms / 1000
        return None

    @Service.task
    async def _renew(self) -> None:
        while not self.should_stop:
            try:
                other = await self._keep()
            except ANY_REDIS_ERROR as error:
                self._options.observer.retried("renew")
                logger.log(severity(error), "could not keep the name of this process (%s)", describe(error))
                if self._client is not None:
                    await drop_connections(self._client, error)
            else:
                if other is not None:
                    self._held_until_s = float("-inf")
                    silent_s = self._options.lease_ttl_ms / 1000
                    raise self._taken(other, f", which took it while this one was silent for more than {silent_s:g} s")
            await self.sleep(renewal_interval_s(self._options.lease_ttl_ms))

    def _taken(self, other: str, how: str = "") -> InstanceTaken:
        holder = f"{self._options.instance_id} is {_who(other)}{how}"
        return InstanceTaken(f"{holder}; this one ends: give each process a name of its own")

    async def on_shutdown(self) -> None:
        """Give the name back, if it is still ours, and close the connection."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT_S):
                await Script(self._client, scripts.FREE_NAME)([self._key], [self._token])
        except ANY_REDIS_ERROR as error:
            logger.warning("the name of this process will be free when its time is over (%s)", describe(error))
        await close(self._client)


def _who(said: str) -> str:
    """Return what a process says of itself as people read it."""
    _token, _renewals, host, pid, since = said.split(" ")
    return f"the process {pid} on {host} since {since}"
