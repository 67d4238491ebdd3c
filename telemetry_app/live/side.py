"""The live side, put together from its parts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from mode import Service

from faust_redis.redis.errors import FaustRedisError
from faust_redis.redis.replies import EntryId
from telemetry_app.live.clients.connection import Connection
from telemetry_app.live.clients.registry import Registry
from telemetry_app.live.delivery.announcing import Announcer
from telemetry_app.live.delivery.fanout import FanOut
from telemetry_app.live.delivery.housekeeping import Housekeeper
from telemetry_app.live.delivery.naming import Namer
from telemetry_app.live.delivery.opening import Opener
from telemetry_app.live.delivery.requests import RequestHandler
from telemetry_app.live.delivery.resume import Resumer
from telemetry_app.live.delivery.review import Reviewer
from telemetry_app.live.positions.gather import Gatherer
from telemetry_app.live.positions.history import KEPT_S, History
from telemetry_app.live.wire.protocol import CloseCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mode import ServiceT

    from faust_redis.stream.batch import RecordBatch
    from telemetry_app.live.clients.limits import LiveLimits
    from telemetry_app.live.ports import (
        Authenticator,
        Authorizer,
        Credentials,
        DeviceEvents,
        EventDetails,
        LiveObserver,
        Replay,
        Source,
        StoredPositions,
    )

logger = logging.getLogger(__name__)

#: How long clients may take to answer the close frame of a stopping server, which waits twice as long for them all.
_SHUTDOWN_TIMEOUT_S: Final = 0.4


class LiveSide(Service):
    """Takes the broadcast's batches and sends each position to every client that may see it.

    It is everything behind the live port but HTTP itself (see `http`).

    Args:
        streams: Keys of the partitions, in order.
        source: Reads the batches that `deliver` is given.
        replay: Reads the streams again.
        authenticator: Knows sessions.
        authorizer: Knows rights.
        details: Knows what clients are told of events.
        device_events: Knows devices and events.
        stored: Reads what the database has.
        limits: Of each client and of all.
        max_ahead_s: How far ahead of its append a position may be to be shown.
        review_s: Time between two looks whether what is shown is still good.
        sign_in_url: Page where people sign in, told to those without a session; None = they know where.
        observer: Told what happens.
    """

    logger = logger

    def __init__(  # noqa: PLR0913 - the parts, each given by name
        self,
        *,
        streams: Sequence[str],
        source: Source,
        replay: Replay,
        authenticator: Authenticator,
        authorizer: Authorizer,
        details: EventDetails,
        device_events: DeviceEvents,
        stored: StoredPositions,
        limits: LiveLimits,
        max_ahead_s: int,
        review_s: float,
        sign_in_url: str | None,
        observer: LiveObserver,
        **kwargs: Any,
    ) -> None:
        self.authenticator = authenticator
        self.authorizer = authorizer
        self.details = details
        self.limits = limits
        self.sign_in_url = sign_in_url
        self.observer = observer
        self.registry = Registry(observer)
        self.history = History()
        self.begun = asyncio.Event()
        self._source = source
        self._resumer = Resumer(
            replay, streams, self.history, device_events.events_of, observer, max_ahead_s=max_ahead_s
        )
        self._fan_out = FanOut(
            streams,
            self.history,
            self.registry,
            device_events,
            source,
            observer,
            max_ahead_s=max_ahead_s,
            limits=limits,
        )
        gatherer = Gatherer(stored, self.history)
        self.requests = RequestHandler(
            registry=self.registry,
            fan_out=self._fan_out,
            opener=Opener(
                self.registry,
                self.history,
                self._fan_out,
                gatherer,
                device_events,
                limits,
            ),
            resumer=self._resumer,
            authenticator=authenticator,
            authorizer=authorizer,
            namer=Namer(device_events, details),
            limits=limits,
            sign_in_url=sign_in_url,
        )
        self._housekeeper = Housekeeper(
            self.registry,
            self._fan_out,
            self.requests,
            Announcer(self.registry, self.history, self._fan_out, gatherer, device_events, limits, observer),
            Reviewer(self.registry, self.history, self._fan_out, gatherer, device_events, every_s=review_s),
        )
        super().__init__(**kwargs)

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Return what starts and stops with it."""
        return [self._housekeeper]

    @property
    def accepting(self) -> bool:
        """Whether clients are let in: the broadcast has begun and the side is not stopping."""
        return self.begun.is_set() and not self.should_stop

    @contextlib.contextmanager
    def connection(
        self, transport: asyncio.Transport, credentials: Credentials, *, deflates: bool
    ) -> Iterator[Connection]:
        """Let a client in for the time of the block; at its end its subscriptions end and its socket is closed."""
        slow = self.registry.slow
        connection = Connection(transport, credentials, self.limits, self.observer, slow, deflates=deflates)
        connection.authenticate_at = self.requests.next_check()
        self.registry.add(connection)
        self._housekeeper.look_after(connection)
        try:
            yield connection
        finally:
            self.registry.remove(connection)
            connection.hang_up()

    async def deliver(self, batch: RecordBatch) -> None:
        """Send a batch to everyone who wants it, once the broadcast has begun."""
        await self.begun.wait()
        await self._fan_out.deliver(batch)

    @Service.task
    async def _serve(self) -> None:
        await self._fan_out.serve()

    @Service.task
    async def _begin(self) -> None:
        """Note where the reader begins, and read what came shortly before, which may not be stored yet."""
        start = await self._source.start_vector()
        self._fan_out.start_at(start)
        self._resumer.start_at(start)
        try:
            await self._resumer.reach_back(tuple(EntryId(max(ms - round(KEPT_S * 1000), 0), 0) for ms, _ in start))
        except FaustRedisError as error:
            self.observer.retried("look back")
            what = "the last %g s before the start cannot be read, so snapshots may lack what is not stored yet: %s"
            logger.warning(what, KEPT_S, error)
        self.begun.set()

    async def close_connections(self) -> None:
        """End every connection with 1001, within a second."""
        self.begun.clear()
        for connection in list(self.registry.connections):
            connection.close(CloseCode.SHUTDOWN, grace_s=_SHUTDOWN_TIMEOUT_S)
        deadline = asyncio.get_running_loop().time() + 2 * _SHUTDOWN_TIMEOUT_S
        while self.registry.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - a registry has no event
            await asyncio.sleep(0.01)

    async def on_stop(self) -> None:
        """End every connection."""
        await self.close_connections()
