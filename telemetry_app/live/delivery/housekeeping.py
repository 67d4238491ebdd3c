"""For all connections in turn: catching up, closing slow and silent ones, looking again at rights, devices, places."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from mode import Service

from telemetry_app.database.backoff import Backoff, jittered
from telemetry_app.live.delivery.agenda import Agenda
from telemetry_app.live.delivery.requests import LOOK_S, RequestHandler

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from telemetry_app.live.clients.connection import Connection
    from telemetry_app.live.clients.registry import Registry
    from telemetry_app.live.clients.subscription import Subscription
    from telemetry_app.live.delivery.announcing import Announcer
    from telemetry_app.live.delivery.fanout import FanOut
    from telemetry_app.live.delivery.review import Reviewer

logger = logging.getLogger(__name__)

#: Longest wait of a client that reads again for what it missed.
_CATCH_UP_S: Final = 0.05
_FORGET_S: Final = 60.0
#: Between attempts to read what clients lack.
_BACKOFF: Final = Backoff(first_s=1.0, longest_s=5.0)
#: Rights checked at the same time.
_QUESTIONS: Final = 16
#: A ping comes up to this part of the interval early: the answers of a crowd that came together would all come at once.
_EARLY: Final = 0.1
#: Connections looked at before others have their turn.
_LOOKS: Final = 32


class Housekeeper(Service):
    """Looks after all connections with a few timers, so that an idle connection costs no task and no timer."""

    logger = logger

    def __init__(
        self,
        registry: Registry,
        fan_out: FanOut,
        requests: RequestHandler,
        announcer: Announcer,
        reviewer: Reviewer,
        **kwargs: Any,
    ) -> None:
        self._registry = registry
        self._fan_out = fan_out
        self._requests = requests
        self._announcer = announcer
        self._reviewer = reviewer
        self._limits = requests.limits
        self._questions = asyncio.Semaphore(_QUESTIONS)
        self._asking: set[asyncio.Task[None]] = set()
        self._agenda = Agenda()
        super().__init__(**kwargs)

    @Service.task
    async def _catch_up(self) -> None:
        while not self.should_stop:
            await asyncio.sleep(_CATCH_UP_S)
            self._fan_out.settle()
            for connection in list(self._registry.slow):
                self._look_after_slow(connection)

    def _look_after_slow(self, connection: Connection) -> None:
        # What has passed until now is part of what it missed.
        self._fan_out.bring(connection)
        connection.catch_up(lambda seq: self._fan_out.missed(connection, seq))
        if connection.conflated_since_seq is None or connection.closing:
            self._registry.slow.discard(connection)
        elif asyncio.get_running_loop().time() - connection.conflated_at > self._limits.slow_client_s:
            connection.close_as_slow()

    def look_after(self, connection: Connection) -> None:
        """Look at a connection from now on, until it is gone."""
        self._agenda.put(connection, asyncio.get_running_loop().time())

    @Service.task
    async def _look_after_all(self) -> None:
        while not self.should_stop:
            await asyncio.sleep(LOOK_S)
            now = asyncio.get_running_loop().time()
            for number, connection in enumerate(self._agenda.due(now), 1):
                if connection in self._registry.connections:
                    self._look_for_life(connection, now)
                    self._look_at_rights(connection, now)
                    self._agenda.put(connection, self._next_look(connection, now))
                if not number % _LOOKS:
                    await asyncio.sleep(0)

    def _look_for_life(self, connection: Connection, now: float) -> None:
        if now >= connection.heard_at + self._limits.silence_s:
            connection.abort()
        elif now >= connection.active_at + self._limits.ping_s * (1 - _EARLY):
            connection.ping()

    def _look_at_rights(self, connection: Connection, now: float) -> None:
        """Have rights checked that are due; the session only of who has no subscription, with which it is checked."""
        subscriptions = self._registry.of(connection)
        for subscription in subscriptions:
            if subscription.authorize_at <= now:
                subscription.authorize_at = float("inf")
                self._start(self._ask_again(subscription))
        if not subscriptions and connection.authenticate_at <= now and not connection.closing:
            connection.authenticate_at = float("inf")
            self._start(self._ask_who(connection))

    def _next_look(self, connection: Connection, now: float) -> float:
        """Return the loop time at which a connection is due again."""
        checks = [s.authorize_at for s in self._registry.of(connection)] or [connection.authenticate_at]
        if self._limits.reauthorize_s and float("inf") in checks:
            # The answer to a question under way says when it is asked again.
            return now + LOOK_S
        ping_at = connection.active_at + jittered(self._limits.ping_s, _EARLY)
        life = min(connection.heard_at + self._limits.silence_s, ping_at)
        return max(min(life, *checks), now + LOOK_S)

    def _start(self, asking: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(asking)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask_again(self, subscription: Subscription) -> None:
        async with self._questions:
            if subscription.stands:
                await self._requests.reauthorize(subscription)

    async def _ask_who(self, connection: Connection) -> None:
        async with self._questions:
            await self._requests.reauthenticate(connection)

    @Service.task
    async def _announce(self) -> None:
        failures = 0
        while not self.should_stop:
            await self.sleep(LOOK_S + (_BACKOFF.wait_s(failures) if failures else 0.0))
            failures = 0 if await self._announcer.announce() else failures + 1

    @Service.task
    async def _review(self) -> None:
        while not self.should_stop:
            await self.sleep(self._reviewer.every_s)
            await self._reviewer.review()

    @Service.task
    async def _forget(self) -> None:
        while not self.should_stop:
            await self.sleep(_FORGET_S)
            self._fan_out.forget()

    async def on_stop(self) -> None:
        """Stop the checks under way."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
