"""What a request is answered when it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from telemetry_app.live.rights.directus import MAX_COOKIE_CHARS

if TYPE_CHECKING:
    from collections.abc import Collection

    from telemetry_app.live.wire.protocol import RefusalCode

#: How long a client that cannot be served now should wait, in seconds.
RETRY_AFTER_S: Final = 5
#: maplibre makes its worker from a blob and styles elements; everything else comes from this server.
_CSP: Final = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; object-src 'none'; frame-ancestors "
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": f"{_CSP}'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def page_headers(embed_origins: Collection[str]) -> dict[str, str]:
    """Return the headers of a page that pages of these origins may show in a frame: none = nobody, `*` = anybody."""
    if not embed_origins:
        return dict(SECURITY_HEADERS)
    # X-Frame-Options cannot name origins, and would forbid them to browsers that know nothing else.
    others = {name: value for name, value in SECURITY_HEADERS.items() if name != "X-Frame-Options"}
    return {**others, "Content-Security-Policy": _CSP + " ".join(embed_origins)}


class Refusal(NamedTuple):
    """Says why a request is not served.

    Attributes:
        status: Of the answer.
        code: What programs go by.
        message: What people are shown.
        advice: What the operator reads in the log; empty = the message says it all.
        retry_after_s: When to try again; None = not by itself.
        sign_in_url: Where to sign in; None = not told.
    """

    status: int
    code: RefusalCode
    message: str
    advice: str = ""
    retry_after_s: float | None = None
    sign_in_url: str | None = None

    def response(self, **headers: str) -> web.Response:
        """Return the answer; a Retry-After is rounded to whole seconds, at least one."""
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after_s)))
        body = {"code": self.code, "message": self.message}
        if self.sign_in_url is not None:
            body["signInUrl"] = self.sign_in_url
        return web.json_response(body, status=self.status, headers={**SECURITY_HEADERS, **headers})


HEADERS_TOO_LARGE: Final = Refusal(
    431,
    "headers-too-large",
    f"Your browser sends more than {MAX_COOKIE_CHARS // 1024} KB in one header, most likely of cookies. "
    "Delete those of this site.",
    f"a header, most likely Cookie, is longer than {MAX_COOKIE_CHARS} bytes: see who sets them for the whole domain",
)
