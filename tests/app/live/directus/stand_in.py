"""A Directus that answers the few questions of the live side as version 11.17 does, and fails on demand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from aiohttp import web

HOST: Final = "127.0.0.1"
COOKIE: Final = "directus_session_token"
ALL_FIELDS: Final = ("id", "name")
#: Of the collection of entries; it has no class.
ENTRY_FIELDS: Final[Mapping[str, str]] = {"name": "string", "number": "integer", "color": "string", "event_id": "uuid"}

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DirectusServer(Protocol):
    """A Directus with an empty collection of events, whose users may see nothing yet."""

    @property
    def url(self) -> str: ...

    async def add_user(self) -> str:
        """Return the id of a new user."""

    async def login(self, user_id: str) -> str:
        """Return the Cookie header of a new session."""

    async def logout(self, cookie: str) -> None: ...

    async def suspend(self, user_id: str) -> None: ...

    async def add_event(self, name: str, event_id: str | None = None, course: object = None) -> str:
        """Return the id of a new event; with an id, make that one unless it is there already."""

    async def allow(self, user_id: str, events: Collection[str], fields: Collection[str] = ALL_FIELDS) -> None:
        """Let a user see these fields of these events, and nothing else."""

    async def forbid(self, user_id: str) -> None:
        """Let a user see nothing."""

    async def allow_public(self, events: Collection[str]) -> None:
        """Let everybody see these events, without a session too."""

    async def forbid_public(self) -> None:
        """Let nobody see anything without a session."""

    async def add_entry(self, event_id: str, **fields: object) -> str:
        """Return the id of a new entry of an event."""

    async def allow_entries(self, user_id: str, fields: Collection[str]) -> None:
        """Let a user see these fields of all entries too."""


@dataclass(frozen=True)
class Asked:
    """A request as it came in: raw path with query, headers with lower-case names."""

    path: str
    headers: Mapping[str, str]


@dataclass
class _User:
    active: bool = True
    events: Collection[str] | None = None
    fields: Collection[str] = ()
    entry_fields: Collection[str] = ()


@dataclass
class DirectusStandIn:
    """An HTTP server on the loopback, listening within `async with`.

    Attributes:
        fault: What is done instead of an answer, to questions of `fault_for` where that is set.
        gate: Questions wait for it.
        asked: Every question so far.
        busiest: Most questions that were there at the same time.
    """

    fault: Fault | None = None
    fault_for: str | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Asked] = field(default_factory=list)
    busiest: int = 0
    _busy: int = 0
    _users: dict[str, _User] = field(default_factory=dict)
    _sessions: dict[str, str] = field(default_factory=dict)
    _events: dict[str, dict[str, Any]] = field(default_factory=dict)
    _entries: dict[str, dict[str, object]] = field(default_factory=dict)
    _public: _User = field(default_factory=_User)
    _runner: web.AppRunner | None = None
    _port: int = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    async def __aenter__(self) -> Self:
        self.gate.set()
        self._runner = web.AppRunner(
            _application(self._answer), access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def count(self, path: str) -> int:
        """Return how many questions began with this path."""
        return sum(asked.path.startswith(path) for asked in self.asked)

    async def add_user(self) -> str:
        return _put(self._users, _User())

    async def login(self, user_id: str) -> str:
        session = _put(self._sessions, user_id)
        return f"{COOKIE}={_token({'id': user_id, 'session': session, 'iss': 'directus'})}"

    async def logout(self, cookie: str) -> None:
        del self._sessions[_payload(cookie.partition("=")[2])["session"]]

    async def suspend(self, user_id: str) -> None:
        self._users[user_id].active = False

    async def add_event(self, name: str, event_id: str | None = None, course: object = None) -> str:
        event = {"name": name, "course": course}
        if event_id is None:
            return _put(self._events, event)
        self._events.setdefault(event_id, event)
        return event_id

    async def allow(self, user_id: str, events: Collection[str], fields: Collection[str] = ALL_FIELDS) -> None:
        self._users[user_id].events = events
        self._users[user_id].fields = fields

    async def forbid(self, user_id: str) -> None:
        self._users[user_id].events = None
        self._users[user_id].entry_fields = ()

    async def add_entry(self, event_id: str, **fields: object) -> str:
        return _put(self._entries, dict.fromkeys(ENTRY_FIELDS) | fields | {"event_id": event_id})

    async def allow_entries(self, user_id: str, fields: Collection[str]) -> None:
        self._users[user_id].entry_fields = fields

    async def allow_public(self, events: Collection[str]) -> None:
        self._public = _User(events=events, fields=ALL_FIELDS)

    async def forbid_public(self) -> None:
        self._public = _User()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(request.raw_path, {name.lower(): text for name, text in request.headers.items()}))
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        try:
            await self.gate.wait()
            if self.fault and self.fault_for in {None, request.headers.get("X-Forwarded-For")}:
                return await self.fault(request)
            return self._respond(request)
        finally:
            self._busy -= 1

    def _respond(self, request: web.Request) -> web.Response:
        token = request.cookies.get(COOKIE, "")
        if token and not _is_signed(token) and _payload(token).get("iss") == "directus":
            return error(403, "Invalid token.", code="INVALID_TOKEN")
        user_id = self._sessions.get(_payload(token).get("session", ""), "")
        user = self._users.get(user_id)
        if "Authorization" in request.headers or (token and (user is None or not user.active)):
            return error(401, "Invalid user credentials.", code="INVALID_CREDENTIALS")
        return self._route(urlsplit(request.raw_path), user, user_id)

    def _route(self, url: SplitResult, user: _User | None, user_id: str) -> web.Response:
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        fields = asked.get("fields", ",".join(ALL_FIELDS)).split(",")
        match url.path.split("/")[1:]:
            case ["users", "me"]:
                stranger = error(401, "Invalid user credentials.", code="INVALID_CREDENTIALS")
                return found({"id": user_id}) if user else stranger
            case ["server", "info"]:
                return found({"project": {"project_name": "Directus"}})
            case ["items", "events"]:
                return self._list(user or self._public, fields)
            case ["items", "entries"]:
                return self._list_entries(user or _User(), fields, asked)
            case ["items", "events", event_id] if event_id:
                return self._item(user or self._public, unquote(event_id, errors="strict"), fields)
        return error(404, f"Route {url.path} doesn't exist.", path=url.path, code="ROUTE_NOT_FOUND")

    def _list(self, user: _User, fields: Collection[str]) -> web.Response:
        if refusal := _refusal("events", fields, user.fields if user.events is not None else ()):
            return refusal
        seen = [
            {"id": event_id, **event} for event_id, event in self._events.items() if event_id in (user.events or ())
        ]
        ordered = sorted(seen, key=lambda event: event["name"])
        return found([{name: event[name] for name in fields} for event in ordered])

    def _list_entries(self, user: _User, fields: Collection[str], asked: Mapping[str, str]) -> web.Response:
        readable = [name for name in ("id", *ENTRY_FIELDS) if name in user.entry_fields]
        # All that may be read, which is not the same as all.
        fields = readable if fields == ["*"] else fields
        ((filtered, condition),) = json.loads(asked["filter"]).items()
        if refusal := _refusal("entries", [filtered, *fields], readable):
            return refusal
        entries = [{"id": entry_id, **entry} for entry_id, entry in self._entries.items()]
        seen = [entry for entry in entries if entry[filtered] == condition["_eq"]][: int(asked["limit"])]
        return found([{name: entry[name] for name in fields} for entry in seen])

    def _item(self, user: _User, event_id: str, fields: Collection[str]) -> web.Response:
        if refusal := _refusal("events", fields, user.fields if user.events is not None else ()):
            return refusal
        # PostgreSQL takes uuids in any case, and shows them in lower case.
        known = event_id.lower()
        if known not in self._events or known not in (user.events or ()):
            return error(403, "You don't have permission to access this.", code="FORBIDDEN")
        event = {"id": known, **self._events[known]}
        return found({name: event[name] for name in fields})


def found(data: object) -> web.Response:
    """Return what a question for readable items is answered with."""
    headers = {"Cache-Control": "no-cache", "Vary": "Origin, Cache-Control"}
    return _json(200, {"data": data}, headers)


def error(status: int, message: str, retry_after: str | None = None, **extensions: object) -> web.Response:
    """Return an error as Directus words it."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return _json(status, {"errors": [{"message": message, "extensions": extensions}]}, headers)


def _json(status: int, body: object, headers: Mapping[str, str]) -> web.Response:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return web.json_response(text=text, status=status, headers={"X-Powered-By": "Directus", **headers})


def _refusal(collection: str, fields: Collection[str], readable: Collection[str]) -> web.Response | None:
    forbidden = next((name for name in fields if name not in readable), None)
    if not readable:
        what = f'collection "{collection}"'
    elif forbidden:
        what = f'field "{forbidden}" in collection "{collection}"'
    else:
        return None
    reason = f"You don't have permission to access {what} or it does not exist. Queried in root."
    return error(403, reason, reason=reason, code="FORBIDDEN")


def _application(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    return application


def _put(table: dict[str, Any], row: object) -> str:
    key = str(uuid.uuid4())
    table[key] = row
    return key


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _signature(signed: str) -> str:
    return _base64(hmac.digest(b"secret of the stand-in", signed.encode(), hashlib.sha256))


def _token(payload: Mapping[str, str]) -> str:
    parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, payload)]
    signed = ".".join(parts)
    return f"{signed}.{_signature(signed)}"


def _is_signed(token: str) -> bool:
    signed, _, signature = token.rpartition(".")
    return hmac.compare_digest(signature.encode(), _signature(signed).encode())


def _payload(token: str) -> dict[str, str]:
    try:
        payload: dict[str, str] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    except (IndexError, ValueError):
        return {}
    return payload
