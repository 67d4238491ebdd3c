"""Who asks, and who is refused: pages of a foreign origin, clients whose session is not known, whatever else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from telemetry_app.live.http.origins import may_connect
from telemetry_app.live.http.refusal_log import RefusalLog
from telemetry_app.live.http.refusals import HEADERS_TOO_LARGE, RETRY_AFTER_S, Refusal
from telemetry_app.live.rights.directus import MAX_COOKIE_CHARS, SESSION_COOKIE

if TYPE_CHECKING:
    from collections.abc import Collection

    from telemetry_app.live.http.proxies import TrustedProxies
    from telemetry_app.live.ports import Authentication, Authenticator, Credentials

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: What Directus calls the cookie of a login that is not in session mode.
_REFRESH_COOKIE: Final = "directus_refresh_token"
_UNAUTHORIZED: Final = 401
#: Longest part of a header in the log.
_SHOWN_CHARS: Final = 100
SESSION_ENDED: Final = Refusal(401, "session-ended", "Your session is unknown or has ended. Please sign in again.")
_NO_SESSION: Final = Refusal(
    401,
    "no-session",
    "You are not signed in. Please sign in.",
    "no session cookie of Directus came along; if people do sign in, set SESSION_COOKIE_DOMAIN of Directus",
)
_NO_SESSION_MODE: Final = Refusal(
    401,
    "session-mode",
    'This login has no session cookie. Please sign in at Directus with "mode": "session".',
    'a token or a refresh cookie came instead of a session cookie: the login must use "mode": "session" at /auth/login',
)
_FOREIGN: Final = "Pages of this address may not connect to this server, unless LIVE_ALLOWED_ORIGINS names it."
UNCHECKED: Final = Refusal(
    503,
    "unavailable",
    "Your session could not be checked. Try again.",
    "Directus could not be asked; its own lines of the log say why",
    RETRY_AFTER_S,
)


class Door:
    """Refuses requests: answers why, and tells the log.

    Args:
        authenticator: Knows sessions.
        proxies: Tell clients' addresses.
        allowed_origins: Pages that may connect; none = only those of the same origin, `*` = any.
        sign_in_url: Page where people sign in, told to those without a session; None = they know where.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        proxies: TrustedProxies,
        allowed_origins: Collection[str],
        *,
        sign_in_url: str | None = None,
    ) -> None:
        self._authenticator = authenticator
        self.credentials_of = proxies.credentials_of
        self._allowed_origins = allowed_origins
        self._sign_in_url = sign_in_url
        self._log = RefusalLog()

    def refuse(self, refusal: Refusal) -> web.Response:
        """Return the answer to a request that is refused."""
        self.tell(f"{refusal.status} {refusal.code}", refusal.advice or refusal.message)
        if refusal.status == _UNAUTHORIZED:
            refusal = refusal._replace(sign_in_url=self._sign_in_url)
        return refusal.response()

    def tell(self, kind: str, reason: str) -> None:
        """Tell the log of a refusal; see `RefusalLog.tell`."""
        self._log.tell(kind, reason)

    async def refuse_stranger(self, request: web.Request, credentials: Credentials) -> web.Response | None:
        """Return the refusal of a client whose session is not known; None when it may go on."""
        return self.refuse_unknown(request, credentials, await self._authenticator.authenticate(credentials))

    def refuse_unknown(
        self, request: web.Request, credentials: Credentials, answer: Authentication
    ) -> web.Response | None:
        """Return the refusal of a client that was asked about, with this answer; None when it may go on."""
        if answer.result == "unauthorized":
            return self.refuse(_why_unknown(request, credentials.cookie or ""))
        if answer.result == "error":
            return self.refuse(UNCHECKED._replace(retry_after_s=answer.retry_after_s or RETRY_AFTER_S))
        return None

    def guard(self, handler: Handler) -> Handler:
        """Return a handler that refuses pages of a foreign origin; those that may connect may read its answers."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            # Browsers send one. Several together are no origin, whichever of them may connect.
            origin = ", ".join(request.headers.getall("Origin", ())) if "Origin" in request.headers else None
            # Browsers, who lend their session to any page, send its origin, but not with a GET of what they take for
            # the same: a page that asks why it may not connect names its own. Programs send none.
            asking = request.query.get("origin") if origin is None else origin
            if asking is not None and not may_connect(asking, request.host, self._allowed_origins):
                return self.refuse(_foreign(asking, request.host, self._allowed_origins))
            response = await handler(request)
            if origin is None:
                return response
            response.headers.update(
                {
                    "Access-Control-Allow-Origin": origin,
                    "Access-Control-Allow-Credentials": "true",
                    "Access-Control-Expose-Headers": "Retry-After",
                }
            )
            return response

        return guarded


def _why_unknown(request: web.Request, cookie: str) -> Refusal:
    if len(cookie) > MAX_COOKIE_CHARS:
        return HEADERS_TOO_LARGE
    names = {pair.partition("=")[0].strip() for pair in cookie.split(";")}
    if SESSION_COOKIE in names:
        return SESSION_ENDED
    if _REFRESH_COOKIE in names or "Authorization" in request.headers or "access_token" in request.query:
        return _NO_SESSION_MODE
    return _NO_SESSION


def _foreign(origin: str, host: str, allowed_origins: Collection[str]) -> Refusal:
    seen = f"Origin {_shown(origin)}, Host {_shown(host)}"
    if allowed_origins:
        advice = f"{seen}: not in LIVE_ALLOWED_ORIGINS; if this page may connect, add its origin"
    else:
        advice = (
            f"{seen}: not the same; if this page may connect, name its origin and the map's own in"
            " LIVE_ALLOWED_ORIGINS, or let the proxy pass on the page's Host"
        )
    return Refusal(403, "origin", _FOREIGN, advice)


def _shown(header: str) -> str:
    # What is no letter becomes an escape, so that nobody writes lines into the log.
    text = repr(header)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
