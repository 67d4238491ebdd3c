"""Questions to Directus: few, bounded, and asked with the credentials of the client that caused them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import aiohttp
from cachetools import TTLCache
from mode import Service
from pydantic import ValidationError
from yarl import URL

from telemetry_app.database.outage import Outage
from telemetry_app.live.rights.retry_after import Holds
from telemetry_app.live.rights.turns import Turns
from telemetry_app.redaction import redact_url
from telemetry_app.serving.address import counted_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

#: Answers with these are answers; any other status means that Directus could not be asked.
_ANSWERING: Final = frozenset({200, 401, 403, 404})
#: Never followed: cookies would go to another host, or in the clear.
_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})
#: Longest target of a redirection in the log.
_SHOWN_CHARS: Final = 200
#: Concurrent requests; further ones wait, within their own timeout.
MAX_CONCURRENT: Final = 16
#: A user or an event takes a hundred bytes; a much longer answer is not Directus'.
MAX_BODY_BYTES: Final = 64 * 1024
#: A longer answer is read in a thread: to make thousands of entries or points fit takes tens of milliseconds.
_READ_AT_ONCE_BYTES: Final = 16 * 1024
#: Longest header that every server and proxy takes: Apache and aiohttp 8,190 bytes with its name, nginx 8 KB.
MAX_HEADER_CHARS: Final = 8000
#: Longest Cookie header that is taken: cookies of a whole domain come along with the session's.
MAX_COOKIE_CHARS: Final = 16_384
#: Directus' own name for the cookie of a session, which a deployment may change.
SESSION_COOKIE: Final = "directus_session_token"
#: Most bytes of cached answers together, each counted with the overhead of keeping it.
_CACHE_BYTES: Final = 16 * 1024 * 1024
_ENTRY_BYTES: Final = 1024
#: Below the 5 s after which Directus closes an idle connection, so that none is used at that moment.
_KEEPALIVE_S: Final = 3.0

# Control characters would end the header; bytes that were not UTF-8 are lone surrogates in the text.
_UNSENDABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """Says what Directus answered: 200 with the content asked for, or 401, 403 or 404 without."""

    status: int
    content: T | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Says that Directus could not be asked or gave no sensible answer, and when to try again, if it said so."""

    reason: str
    retry_after_s: float | None = None


class Directus(Service):
    """Asks Directus with a client's own Cookie header and address, and nothing else of the client's.

    Identical questions at the same time are asked once, and not again within `cache_s`; answers are cached, failures
    never. Until its Retry-After is over, a 429 stops questions for the address it was meant for, a 503 all questions.

    Args:
        base_url: Where Directus is, without a slash at the end.
        timeout_s: How long one question may take, including the wait for its turn.
        cache_s: How long an answer is used; 0 = not at all.
        allow_public: Whether it is asked for clients without a cookie too, as Directus' public role then.
    """

    logger = logger

    def __init__(
        self, base_url: str, *, timeout_s: float, cache_s: float, allow_public: bool = False, **kwargs: Any
    ) -> None:
        self.allow_public = allow_public
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._answers: TTLCache[bytes, Answer[Any]] = TTLCache(
            _CACHE_BYTES, cache_s, getsizeof=lambda answer: answer.size_bytes + _ENTRY_BYTES
        )
        self._questions: dict[bytes, asyncio.Task[Answer[Any] | Unavailable]] = {}
        self._holds = Holds()
        self._turns = Turns(MAX_CONCURRENT)
        # Without a salt, keys found in a memory dump could be compared with guesses.
        self._salt = secrets.token_bytes(32)
        self._outage = Outage(logger, "Directus")
        super().__init__(**kwargs)

    async def on_start(self) -> None:
        """Create the client session, without connecting."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONCURRENT, keepalive_timeout=_KEEPALIVE_S),
            # Directus renews cookies in its answers: one client's must never be sent with another's question.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "telemetry-processor"},
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )

    async def on_stop(self) -> None:
        """Cancel what is under way and close every connection."""
        questions = list(self._questions.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def serves(self, cookie: str | None) -> bool:
        """Tell whether it can be asked for a client with this Cookie header, or without one."""
        return self.allow_public if cookie is None else can_be_sent(cookie, MAX_COOKIE_CHARS)

    async def ask(
        self,
        path: str,
        read: Callable[[bytes], T],
        *,
        cookie: str | None,
        forwarded_for: str,
        max_bytes: int = MAX_BODY_BYTES,
        edition: int = 0,
    ) -> Answer[T] | Unavailable:
        """Ask one question, or share the answer to an identical one. Never raises.

        Args:
            path: Path and query, percent-encoded, from `/` on.
            read: Reads the body of a 200, of a long one in a thread; may raise pydantic's ValidationError.
            cookie: The client's Cookie header, or None, which it `serves`; of a long one only the session's is sent.
            forwarded_for: The client's address; left out when empty or when it cannot be sent.
            max_bytes: Longest body accepted.
            edition: Only those of the same one share an answer.
        """
        key = self._key(f"{edition} {path}", cookie)
        answer: Answer[T] | None = self._answers.get(key)
        if answer is not None:
            return answer
        address = forwarded_for if can_be_sent(forwarded_for) else ""
        if left_s := self._holds.left_s(address):
            return Unavailable("it asked for a pause (Retry-After)", left_s)
        question = self._questions.get(key)
        if question is None:
            asking = self._ask_in_time(key, _Question(path, read, _headers(cookie, address), address, max_bytes))
            question = asyncio.create_task(asking)
            self._questions[key] = question
            question.add_done_callback(lambda _: self._questions.pop(key, None))
        # Not awaited directly: a client that leaves must not cancel the question for the others.
        await asyncio.wait((question,))
        return Unavailable("the service is stopping") if question.cancelled() else question.result()

    async def _ask_in_time(self, key: bytes, question: _Question) -> Answer[Any] | Unavailable:
        try:
            # By turns: one client's questions, however many, must not hold up the others'.
            async with asyncio.timeout(self._timeout_s), self._turns.turn(counted_as(question.address)):
                outcome = await self._ask(question)
        except TimeoutError:
            outcome = Unavailable(f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            outcome = Unavailable(_why(error))
        if isinstance(outcome, Unavailable):
            self._outage.failed(outcome.reason)
        else:
            self._answers[key] = outcome
            self._outage.over()
        return outcome

    async def _ask(self, question: _Question) -> Answer[Any] | Unavailable:
        if self._session is None:
            return Unavailable("the service is not running")
        url = URL(self._base_url + question.path, encoded=True)
        async with self._session.get(url, headers=question.headers, allow_redirects=False) as response:
            if response.status not in _ANSWERING:
                return self._why_not(response, question)
            body = await _read(response.content, question.max_bytes)
        if body is None:
            return Unavailable(f"an answer of more than {question.max_bytes} bytes")
        if len(body) <= _READ_AT_ONCE_BYTES:
            return _answer(response.status, body, question.read)
        return await asyncio.to_thread(_answer, response.status, body, question.read)

    def _why_not(self, response: aiohttp.ClientResponse, question: _Question) -> Unavailable:
        if response.status in _REDIRECTING:
            return Unavailable(_redirection(response, question.path))
        retry_after = response.headers.get("Retry-After")
        retry_after_s = self._holds.note(response.status, retry_after, question.address)
        return Unavailable(f"status {response.status}", retry_after_s)

    def _key(self, path: str, cookie: str | None) -> bytes:
        text = f"{path}\n{cookie or ''}".encode()
        return hashlib.blake2b(text, key=self._salt, digest_size=24).digest()


@dataclass(frozen=True, slots=True)
class _Question:
    path: str
    read: Callable[[bytes], Any]
    headers: Mapping[str, str]
    address: str
    max_bytes: int


def can_be_sent(header: str, max_chars: int = MAX_HEADER_CHARS) -> bool:
    """Tell whether a header's value can be passed on as it came."""
    return 0 < len(header) <= max_chars and not _UNSENDABLE.search(header)


def _sendable(cookie: str) -> str:
    """Return a Cookie header that Directus accepts: Node takes 16 KB of headers in all, many a proxy 8 KB of one."""
    if len(cookie) <= MAX_HEADER_CHARS:
        return cookie
    pairs = [pair.strip() for pair in cookie.split(";")]
    return "; ".join(pair for pair in pairs if pair.startswith(f"{SESSION_COOKIE}=")) or cookie


def _headers(cookie: str | None, address: str) -> dict[str, str]:
    headers = {"Cookie": _sendable(cookie)} if cookie else {}
    return headers | {"X-Forwarded-For": address} if address else headers


async def _read(content: aiohttp.StreamReader, max_bytes: int) -> bytes | None:
    """Return a body; None as soon as it turns out to be too long."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            return None
    return bytes(body)


def _answer(status: int, body: bytes, read: Callable[[bytes], Any]) -> Answer[Any] | Unavailable:
    if body.lstrip().startswith(b"<"):
        return Unavailable(f"status {status} with a page: set DIRECTUS_BASE_URL to the root of Directus")
    if status != 200:  # noqa: PLR2004 - the one status with content
        return Answer(status, None, len(body))
    try:
        return Answer(200, read(body), len(body))
    except ValidationError as error:
        return Unavailable(f"an answer that is not a {error.title.lstrip('_')} ({error.error_count()})")


def _redirection(response: aiohttp.ClientResponse, path: str) -> str:
    # A query may hold what was sent.
    target = response.headers.get("Location", "nowhere").partition("?")[0]
    root = target.removesuffix(path.partition("?")[0])[:_SHOWN_CHARS]
    return f"status {response.status}, a redirection to {redact_url(root)!r}: set DIRECTUS_BASE_URL to where it answers"


def _why(error: Exception) -> str:
    # A failed connection's text is host and cause; texts of other errors may quote what was sent.
    return str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
