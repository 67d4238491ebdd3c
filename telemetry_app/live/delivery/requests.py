"""What a client may ask for, and what it is answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, UnsetType

from telemetry_app.database.backoff import jittered
from telemetry_app.live.clients.subscription import Subscription
from telemetry_app.live.wire import cursor
from telemetry_app.live.wire.encoding import Form
from telemetry_app.live.wire.protocol import (
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
)

if TYPE_CHECKING:
    from telemetry_app.live.clients.connection import Connection
    from telemetry_app.live.clients.limits import LiveLimits
    from telemetry_app.live.clients.registry import Registry
    from telemetry_app.live.delivery.fanout import FanOut
    from telemetry_app.live.delivery.naming import Namer
    from telemetry_app.live.delivery.opening import Opener
    from telemetry_app.live.delivery.resume import Resumer
    from telemetry_app.live.ports import Authenticator, Authorizer
    from telemetry_app.live.wire.cursor import Vector

#: Rights are asked for again up to a fifth of the interval early, which spreads a crowd that came together.
_EARLY: Final = 0.2
#: How often pings, silence and rights are checked: their intervals are tens of seconds.
LOOK_S: Final = 0.5

_REFUSALS: Final[dict[str, tuple[ErrorCode, str]]] = {
    "forbidden": ("forbidden", "You may not see this event."),
    "not-found": ("not-found", "There is no such event."),
    "error": ("error", "Your rights could not be checked. Try again."),
}


@dataclass(frozen=True, slots=True)
class RequestHandler:
    """Answers clients' requests, one at a time per client, and checks rights and sessions again."""

    registry: Registry
    fan_out: FanOut
    opener: Opener
    resumer: Resumer
    authenticator: Authenticator
    authorizer: Authorizer
    namer: Namer
    limits: LiveLimits
    sign_in_url: str | None

    async def handle(self, connection: Connection, data: bytes | str) -> None:
        """Answer one frame, whatever it holds."""
        try:
            request = parse(data)
        except BadRequestError as error:
            connection.send(encode(Error("bad-request", str(error), id=error.reference)))
            return
        match request.frame:
            case Subscribe() as frame:
                await self._subscribe(connection, request, frame)
            case Unsubscribe(topic=topic):
                # What has passed until now is still the client's.
                self.fan_out.bring(connection)
                self.registry.unsubscribe(connection, topic)
                connection.send(encode(Unsubscribed(topic, request.reference)))

    async def reauthorize(self, subscription: Subscription) -> None:
        """Check again whether a subscription may stand; it does while Directus cannot be asked."""
        connection, topic = subscription.connection, subscription.topic
        subscription.authorize_at = self.next_check()
        verdict = await self.authorizer.may_see(subscription.event_id, connection.credentials)
        if verdict.result == "ok":
            await self.namer.name_newcomers(subscription)
        if verdict.result in {"ok", "error"} or not subscription.stands:
            return
        if verdict.result == "unauthorized":
            connection.close(CloseCode.SESSION_ENDED)
            return
        self.registry.unsubscribe(connection, topic)
        code, message = _REFUSALS[verdict.result]
        connection.send(encode(Error(code, message, topic, signInUrl=self._where_to_sign_in(connection, code))))

    async def reauthenticate(self, connection: Connection) -> None:
        """Check again whether a client's session goes on; it does while Directus cannot be asked."""
        connection.authenticate_at = self.next_check()
        answer = await self.authenticator.authenticate(connection.credentials)
        if answer.result == "unauthorized":
            connection.close(CloseCode.SESSION_ENDED)

    async def _subscribe(self, connection: Connection, request: Request, frame: Subscribe) -> None:
        topic = frame.topic
        event_id = event_of(topic)
        if event_id is None:
            _refuse(connection, request, "unknown-topic", "A topic is `event:` and the id of an event.")
        elif self._is_full(connection, topic):
            _refuse(connection, request, "limit", f"No more than {self.limits.max_subscriptions} subscriptions.")
        elif await self._is_allowed(connection, request, event_id):
            form = _form(frame, connection)
            since_text, mark = cursor.split(frame.since or "")
            subscription = Subscription(connection, topic, event_id, form, mark=mark, authorize_at=self.next_check())
            entries = await self.namer.name(subscription)
            since = await self._reachable(since_text)
            await self.opener.open(subscription, since, request.reference, entries)

    def _is_full(self, connection: Connection, topic: str) -> bool:
        held = len(self.registry.of(connection))
        return held >= self.limits.max_subscriptions and not self.registry.subscribed(connection, topic)

    async def _is_allowed(self, connection: Connection, request: Request, event_id: str) -> bool:
        verdict = await self.authorizer.may_see(event_id, connection.credentials)
        if verdict.result == "unauthorized":
            connection.close(CloseCode.SESSION_ENDED)
        elif verdict.result != "ok":
            code, message = _REFUSALS[verdict.result]
            sign_in_url = self._where_to_sign_in(connection, code)
            _refuse(connection, request, code, verdict.why or message, sign_in_url)
        return verdict.result == "ok"

    def _where_to_sign_in(self, connection: Connection, code: ErrorCode) -> str | UnsetType:
        """Return what a client is told that may see more with a session, and has none."""
        stranger = code == "forbidden" and connection.credentials.cookie is None
        return self.sign_in_url if stranger and self.sign_in_url is not None else UNSET

    async def _reachable(self, text: str) -> Vector | None:
        """Return the client's cursor, if everything after it can be read."""
        since = cursor.parse(text, len(self.fan_out.vector))
        return since if since is not None and await self.resumer.reach(since) else None

    def next_check(self) -> float:
        """Return the loop time at which a right or a session that is good now is to be checked again."""
        interval_s = self.limits.reauthorize_s
        if not interval_s:
            return float("inf")
        # An answer may come from the cache, and a lost right must still end within the interval.
        late_s = min(LOOK_S + self.limits.answer_age_s, interval_s / 2)
        return asyncio.get_running_loop().time() + jittered(interval_s - late_s, _EARLY)


def _form(frame: Subscribe, connection: Connection) -> Form:
    if not frame.batch:
        return Form.EACH
    return Form.DEFLATED if connection.deflates else Form.BATCH


def _refuse(
    connection: Connection, request: Request, code: ErrorCode, message: str, sign_in_url: str | UnsetType = UNSET
) -> None:
    connection.send(encode(Error(code, message, request.frame.topic, request.reference, sign_in_url)))
