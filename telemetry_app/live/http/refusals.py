"""Who sends a request, and how it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from telemetry_app.live.ports import Credentials

if TYPE_CHECKING:
    from telemetry_app.live.ports import Authenticator

#: How long a client that cannot be served now should wait, in seconds.
RETRY_AFTER_S: Final = 5
#: maplibre makes its worker from a blob and styles elements; everything else comes from this server.
_CSP: Final = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; object-src 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def credentials_of(request: web.Request) -> Credentials:
    """Return the Cookie header, and the addresses of the client and the proxies before us."""
    chain = [*request.headers.getall("X-Forwarded-For", ()), request.remote or "unknown"]
    return Credentials(request.headers.get("Cookie"), ", ".join(chain))


async def refuse_stranger(authenticator: Authenticator, request: web.Request) -> web.Response | None:
    """Return the refusal of a client whose session is not known; None when it may go on."""
    answer = await authenticator.authenticate(credentials_of(request))
    if answer.result == "unauthorized":
        return refusal(401, "No session.")
    if answer.result == "error":
        return refusal(503, "The session could not be checked.", answer.retry_after_s or RETRY_AFTER_S)
    return None


def refusal(status: int, reason: str, retry_after_s: float | None = None, **headers: str) -> web.Response:
    """Return an answer of JSON that says why; a Retry-After is rounded to whole seconds, at least one."""
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return web.json_response({"error": reason}, status=status, headers={**SECURITY_HEADERS, **headers})
