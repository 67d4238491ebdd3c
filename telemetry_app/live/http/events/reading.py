"""What of an event may be read by plain HTTP: under the rights of a subscription, compressed, and not sent twice."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import ETag, web

from telemetry_app.live.http.door import SESSION_ENDED, UNCHECKED
from telemetry_app.live.http.refusals import RETRY_AFTER_S, SECURITY_HEADERS, Refusal
from telemetry_app.live.wire.past import AskedEvent, BadWindowError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from telemetry_app.live.http.door import Door
    from telemetry_app.live.ports import Credentials
    from telemetry_app.live.side import LiveSide

Asked = TypeVar("Asked", bound=AskedEvent)

_REFUSALS: Final = {
    "forbidden": Refusal(403, "forbidden", "You may not see this event."),
    "not-found": Refusal(404, "not-found", "There is no such event."),
}
_UNCHECKED: Final = Refusal(503, "unavailable", "Your rights could not be checked. Try again.", UNCHECKED.advice)
#: What is said where the authorizer itself says why.
_UNREAD: Final = Refusal(503, "unavailable", "", "the database could not be read; its own lines of the log say why")


class EventReading:
    """Lets clients read something of an event that they may see.

    Args:
        live: Whose rights.
        door: Refuses requests.
    """

    def __init__(self, live: LiveSide, door: Door) -> None:
        self._live = live
        self._door = door

    async def answer(
        self,
        request: web.Request,
        parse: Callable[[Mapping[str, str]], Asked],
        send: Callable[[Asked, Credentials], Coroutine[None, None, web.Response]],
    ) -> web.Response:
        """Send what is asked for, or refuse: bad parameters, no session, no right, in this order."""
        try:
            asked = parse(request.query)
        except BadWindowError as error:
            response = Refusal(400, "bad-request", f"{error}.").response()
        else:
            credentials = self._door.credentials_of(request)
            response = (
                await self._door.refuse_stranger(request, credentials)
                or await self._refuse_event(credentials, asked.event)
                or await send(asked, credentials)
            )
        response.headers["Vary"] = "Accept-Encoding, Cookie, Origin"
        return response

    async def _refuse_event(self, credentials: Credentials, event_id: str) -> web.Response | None:
        verdict = await self._live.authorizer.may_see(event_id, credentials)
        if verdict.result == "ok":
            return None
        if verdict.result == "unauthorized":
            # It has ended since the door asked, which says where to sign in again.
            return self._door.refuse(SESSION_ENDED)
        if verdict.result == "error":
            refusal = _UNREAD._replace(message=verdict.why) if verdict.why else _UNCHECKED
            return self._door.refuse(refusal._replace(retry_after_s=verdict.retry_after_s or RETRY_AFTER_S))
        return _REFUSALS[verdict.result].response()


async def json_response(request: web.Request, encode: Callable[[], bytes], *, freshness: str) -> web.Response:
    """Return JSON, unless the client has it already.

    Args:
        request: Tells what the client has and takes.
        encode: Returns the body; called in a thread, as is the compression.
        freshness: Value of Cache-Control.
    """
    headers = {**SECURITY_HEADERS, "Cache-Control": freshness}
    body, digest = await asyncio.to_thread(_encoded, encode, gzip=_takes_gzip(request))
    # Weak, since it names the content however it is encoded.
    etag = ETag(digest, is_weak=True)
    if any(known.value in {etag.value, "*"} for known in request.if_none_match or ()):
        response = web.Response(status=304, headers=headers)
    else:
        if _takes_gzip(request):
            headers["Content-Encoding"] = "gzip"
        response = web.Response(body=body, content_type="application/json", headers=headers)
    response.etag = etag
    return response


def _encoded(encode: Callable[[], bytes], *, gzip: bool) -> tuple[bytes, str]:
    """Return the body, and its digest before compression; takes up to a tenth of a second."""
    body = encode()
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    # More effort would take four times as long for a quarter less.
    return (zlib.compress(body, 1, wbits=zlib.MAX_WBITS | 16) if gzip else body), digest


def _takes_gzip(request: web.Request) -> bool:
    """Tell whether a client names gzip among the encodings that it takes, and not only to refuse it."""
    for part in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, _, quality = part.partition(";")
        if coding.strip() == "gzip":
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
