"""What a client may ask for, and what it is answered."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Raw, UnsetType

from telemetry_app.live import cursor
from telemetry_app.live.fanout import FanOut, frames
from telemetry_app.live.protocol import (
    BadRequestError,
    CloseCode,
    Error,
    ErrorCode,
    Request,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
    encode,
    event_of,
    parse,
    subscribed,
)
from telemetry_app.live.subscription import Gate, Subscription
from telemetry_app.live.wsframes import text_frame

if TYPE_CHECKING:
    from telemetry_app.live.connection import Connection
    from telemetry_app.live.cursor import Vector
    from telemetry_app.live.gather import Gatherer
    from telemetry_app.live.history import History, Sighting
    from telemetry_app.live.limits import LiveLimits
    from telemetry_app.live.ports import Authorizer, DeviceEvents
    from telemetry_app.live.registry import Registry
    from telemetry_app.live.resume import Resumer

logger = logging.getLogger(__name__)

#: Rights are asked again up to a fifth earlier than they have to be, so that a crowd that came together spreads.
_JITTER: Final = 0.2
#: Pings, silence and rights are looked at this often: their times are counted in tens of seconds.
LOOK_S: Final = 0.5

_REFUSALS: Final[dict[str, tuple[ErrorCode, str]]] = {
    "forbidden": ("forbidden", "You may not see this event."),
    "not-found": ("not-found", "There is no such event."),
    "error": ("error", "Your rights could not be checked. Try again."),
}


@dataclass(frozen=True, slots=True)
class Session:
    """Answers requests. Each subscription is given what is known first; then it stands, in the same step of the loop.

    So nothing can pass between the two: until then positions are held in the history, and those the database does
    not have yet are sent right behind the snapshot.
    """

    registry: Registry
    history: History
    fan_out: FanOut
    gatherer: Gatherer
    resumer: Resumer
    authorizer: Authorizer
    device_events: DeviceEvents
    limits: LiveLimits

    async def handle(self, connection: Connection, data: bytes | str) -> None:
        """Answer one frame, whatever it holds."""
        try:
            request = parse(data)
        except BadRequestError as error:
            connection.send(encode(Error("bad-request", str(error), id=error.reference)))
            return
        match request.frame:
            case Subscribe():
                await self._subscribe(connection, request)
            case Unsubscribe(topic=topic):
                self.registry.unsubscribe(connection, topic)
                connection.send(encode(Unsubscribed(topic, request.reference)))

    async def reauthorize(self, subscription: Subscription) -> None:
        """Ask again whether a subscription may stand; when that cannot be asked, it does."""
        connection, topic = subscription.connection, subscription.topic
        subscription.authorize_at = self._next_authorization()
        verdict = await self.authorizer.may_see(subscription.event_id, connection.cookie, connection.forwarded_for)
        if verdict.result in {"ok", "error"} or not self.registry.holds(subscription):
            return
        if verdict.result == "unauthorized":
            connection.close(CloseCode.SESSION_ENDED)
            return
        self.registry.unsubscribe(connection, topic)
        code, message = _REFUSALS[verdict.result]
        connection.send(encode(Error(code, message, topic)))

    async def _subscribe(self, connection: Connection, request: Request) -> None:
        topic = request.frame.topic
        event_id = event_of(topic)
        if event_id is None:
            _refuse(connection, request, "unknown-topic", "A topic is `event:` and the id of an event.")
        elif self._is_full(connection, topic):
            _refuse(connection, request, "limit", f"No more than {self.limits.max_subscriptions} subscriptions.")
        elif await self._is_allowed(connection, request, event_id):
            subscription = Subscription(connection, topic, event_id, authorize_at=self._next_authorization())
            since = await self._reachable(request.frame)
            stand = self._begin if since is None else partial(self._resume, since=since)
            while size := await stand(subscription, request.reference):
                await connection.wait_for_room(size)

    def _is_full(self, connection: Connection, topic: str) -> bool:
        held = len(self.registry.of(connection))
        return held >= self.limits.max_subscriptions and not self.registry.subscribed(connection, topic)

    async def _is_allowed(self, connection: Connection, request: Request, event_id: str) -> bool:
        verdict = await self.authorizer.may_see(event_id, connection.cookie, connection.forwarded_for)
        if verdict.result == "unauthorized":
            connection.close(CloseCode.SESSION_ENDED)
        elif verdict.result != "ok":
            _refuse(connection, request, *_REFUSALS[verdict.result])
        return verdict.result == "ok"

    async def _reachable(self, frame: Subscribe | Unsubscribe) -> Vector | None:
        """Return how far the client has come, if everything after it can be had."""
        text = frame.since if isinstance(frame, Subscribe) else None
        since = cursor.parse(text, len(self.fan_out.vector)) if text else None
        return since if since is not None and await self.resumer.reach(since) else None

    async def _begin(self, subscription: Subscription, reference: Raw | UnsetType) -> int:
        """Give a snapshot; see `_stand`."""
        snapshot = await self.gatherer.snapshot(subscription.event_id)
        # No await from here on.
        newest_ms = {position.device_id: position.ts_ms for position in snapshot.positions}
        ahead = {d: ts_ms for d, ts_ms in newest_ms.items() if ts_ms > (self.history.known_ms(d) or -1)}
        subscription.gate = Gate(ahead, None, snapshot.made_at) if ahead else None
        following = self.gatherer.unstored(subscription.event_id, snapshot)
        answer = subscribed(subscription.topic, snapshot.positions, self._just_before(following), reference=reference)
        return self._stand(subscription, answer, following)

    async def _resume(self, subscription: Subscription, reference: Raw | UnsetType, since: Vector) -> int:
        """Give the newest position of each device that was missed; see `_stand`.

        Not all of them: a map shows where things are, and after a long absence the work stays bounded.
        """
        snapshot = await self.gatherer.snapshot(subscription.event_id)
        # No await from here on.
        newest_ms = {position.device_id: position.ts_ms for position in snapshot.positions}
        # What the database has newest of a device may have yet to pass here, and the client has not seen it.
        ahead = {d: ts_ms - 1 for d, ts_ms in newest_ms.items() if ts_ms > (self.history.known_ms(d) or -1)}
        subscription.gate = Gate(ahead, since, snapshot.made_at)
        devices = self.device_events.devices_of(subscription.event_id)
        # Late uploads are in the stream too, and older than what the client may have been shown before.
        missed = [s for s in self.history.missed(devices, since) if s.ts_ms >= newest_ms.get(s.device_id, 0)]
        answer = subscribed(subscription.topic, (), cursor.of(since), reference=reference, resumed=True)
        return self._stand(subscription, answer, missed)

    def _stand(self, subscription: Subscription, answer: bytes, following: list[Sighting]) -> int:
        """Give what is known and let the subscription stand.

        Returns:
            0, or how many bytes the client has no room for: what is known then is to be asked again later.
        """
        first = text_frame(answer) + frames(subscription.topic, following)
        if not subscription.connection.has_room(len(first)):
            return len(first)
        subscription.seq = self.history.seq
        if self.registry.subscribe(subscription):
            subscription.connection.write(first)
            self.fan_out.admit(subscription)
        return 0

    def _just_before(self, following: list[Sighting]) -> str:
        """Return the cursor behind which the first of these is found, or everything that is to come."""
        reached = self.fan_out.vector
        if not following:
            return cursor.of(reached)
        first = following[0]
        vector = cursor.parse(first.cursor, len(reached)) or reached
        return cursor.of(cursor.replaced(vector, first.partition, cursor.before(first.entry_id)))

    def _next_authorization(self) -> float:
        interval_s = self.limits.reauthorize_ms / 1000
        if not interval_s:
            return float("inf")
        # An answer may be as old as it is kept, and still the right must be gone within the interval.
        late_s = min(LOOK_S + self.limits.answer_age_ms / 1000, interval_s / 2)
        jitter = random.uniform(1 - _JITTER, 1)  # noqa: S311 - spreads load, guards nothing
        return asyncio.get_running_loop().time() + (interval_s - late_s) * jitter


def _refuse(connection: Connection, request: Request, code: ErrorCode, message: str) -> None:
    connection.send(encode(Error(code, message, request.frame.topic, request.reference)))
