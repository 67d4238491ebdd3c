"""A live side on real sockets and a real Redis, with rights and devices that a test sets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec
from aiohttp import ClientSession, ClientWebSocketResponse, ClientWSTimeout, TCPConnector, WSMsgType, web
from redis.asyncio import Redis

from faust_redis.broadcast.reader import BroadcastReader
from faust_redis.broadcast.replay import StreamReplay
from faust_redis.options import RedisOptions
from faust_redis.redis.keys import partition_stream
from faust_redis.stream.batch import RecordBatch
from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.http.pages import PageOptions
from telemetry_app.live.http.proxies import Network
from telemetry_app.live.http.routes import APPLICATION_OPTIONS, LiveRoutes
from telemetry_app.live.ports import (
    Authentication,
    Authenticator,
    Authorization,
    Authorizer,
    Credentials,
    EventDetails,
    PastReader,
    PastUnavailableError,
)
from telemetry_app.live.side import LiveSide
from telemetry_app.live.wire.cursor import split
from telemetry_app.live.wire.past import Past, Window
from telemetry_app.live.wire.position import LivePosition, Rank
from telemetry_app.live.wire.protocol import EntryFields
from telemetry_app.records.codec import encode
from tests.app.live.records import Entries, position
from tests.support.observed import LiveObserved
from tests.support.waiting import eventually

COOKIE = {"Cookie": "session=good"}
MAX_AHEAD_S = 300
LiveFactory = Callable[..., contextlib.AbstractAsyncContextManager["Side"]]


def now_ms() -> int:
    return round(time.time() * 1000)


def race_ms() -> int:
    """Return a time at which trackers send, an hour ago: what they send in the next hour is ahead of nothing."""
    return now_ms() - 3_600_000


class Asked(Authenticator, Authorizer, Protocol):
    """What a live side asks who a client is and what it may see."""

    @property
    def cookie(self) -> str:
        """The Cookie header of a client that may come in."""


class Rights:
    """Lets everybody with a cookie see every event, whatever it is called; knows nobody once it is `closed`.

    Nobody is a user, so that only bounds of addresses hold for them.

    Attributes:
        questions: How often it was asked about an event.
    """

    cookie = COOKIE["Cookie"]

    def __init__(self) -> None:
        self.closed = False
        self.questions = 0

    async def authenticate(self, credentials: Credentials) -> Authentication:
        return Authentication("unauthorized") if self.closed or not credentials.cookie else Authentication("ok")

    async def may_see(self, event_id: str, credentials: Credentials) -> Authorization:  # noqa: ARG002
        self.questions += 1
        await asyncio.sleep(0)
        return Authorization("ok")

    async def visible_events(self, credentials: Credentials) -> list[dict[str, Any]]:  # noqa: ARG002
        return []


class Details:
    """Tells everybody of the entries that a test names, by id, and of one course."""

    def __init__(self, entries: Mapping[str, EntryFields] | None, course: bytes | None = None) -> None:
        self.entries_by_id = entries
        self._course = course

    async def entries(self, event_id: str, credentials: Credentials, edition: int) -> Mapping[str, EntryFields] | None:  # noqa: ARG002
        return self.entries_by_id

    async def course(self, event_id: str, credentials: Credentials) -> bytes | None:  # noqa: ARG002
        return self._course


class Stored:
    """A database in memory: the newest position of each device, and the newest that is not faulty.

    Attributes:
        reads: How often it was asked for positions.
        away: Whether it cannot be asked.
    """

    def __init__(self) -> None:
        self.newest_good: dict[str, LivePosition] = {}
        self.newest_rank: dict[str, Rank] = {}
        self.reads = 0
        self.away = False

    def store(self, position: LivePosition, *, faulty: bool = False) -> None:
        if position.rank >= self.newest_rank.get(position.device_id, (0, 0)):
            self.newest_rank[position.device_id] = position.rank
            if not faulty:
                self.newest_good[position.device_id] = position

    async def newest(self, device_ids: Collection[str]) -> list[LivePosition] | None:
        self.reads += 1
        if self.away:
            return None
        # A real database takes its time, and answers with what it had at the beginning.
        found = [self.newest_good[device_id] for device_id in device_ids if device_id in self.newest_good]
        await asyncio.sleep(0.005)
        return found

    async def stored_until(self, newest: Mapping[str, Rank]) -> Mapping[str, Rank]:
        if self.away:
            return {}
        found = {device_id: self.newest_rank[device_id] for device_id in newest if device_id in self.newest_rank}
        await asyncio.sleep(0.002)
        return found


class NoPast:
    """A database that cannot be read."""

    async def read(self, device_ids: Collection[str], window: Window) -> Past:  # noqa: ARG002
        raise PastUnavailableError("error")

    async def extent(self, device_ids: Collection[str], until: datetime) -> tuple[int, int] | None:  # noqa: ARG002
        raise PastUnavailableError("error")


@dataclass
class Side:
    """One running worker's live side and what a test needs to play with it."""

    live: LiveSide
    reader: BroadcastReader
    cookie: str
    stored: Stored
    entries: Entries
    observed: LiveObserved
    redis: Redis
    stream: str
    port: int
    partitions: int
    routes: LiveRoutes
    http: ClientSession
    sockets: list[ClientWebSocketResponse] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, **options: Any) -> ClientWebSocketResponse:
        options.setdefault("headers", {"Cookie": self.cookie})
        options.setdefault("timeout", ClientWSTimeout(ws_close=1))
        socket: ClientWebSocketResponse = await self.http.ws_connect(f"{self.url}/live", max_msg_size=0, **options)
        self.sockets.append(socket)
        return socket

    async def publish(self, device: str, ts_ms: int, **changes: Any) -> str:
        return await publish(self.redis, self.stream, device, ts_ms, partitions=self.partitions, **changes)

    def hold_back(self) -> asyncio.Event:
        """Let nothing pass that is published from now on, until the event is set."""
        go_on, deliver = asyncio.Event(), self.live.deliver

        async def held(batch: RecordBatch) -> None:
            await go_on.wait()
            await deliver(batch)

        self.live.deliver = held  # type: ignore[method-assign]
        return go_on

    async def idle(self) -> None:
        """Wait until everything published has passed."""
        tips = await StreamReplay.tips(self.live._resumer._replay, self.reader.streams)  # type: ignore[arg-type]
        wanted = tuple(tip.last for tip in tips)
        await eventually(lambda: self.live.requests.fan_out.vector >= wanted, message="everything published has passed")


async def publish(
    redis: Redis,
    stream: str,
    device: str,
    ts_ms: int,
    *,
    partitions: int = 1,
    appended_ms: int | None = None,
    **changes: Any,
) -> str:
    record = position(device, ts_ms, **changes)
    partition = sum(device.encode()) % partitions
    entry: Any = {"device_id": device, "codec": "8E", "payload": encode(record)}
    wanted_id = "*" if appended_ms is None else f"{appended_ms}-0"
    entry_id: Any = await redis.xadd(partition_stream(stream, partition, partitions), entry, wanted_id)
    # Within a pipeline there is none yet.
    return entry_id.decode() if isinstance(entry_id, bytes) else ""


@contextlib.asynccontextmanager
async def live_side(  # noqa: PLR0913 - each may be shared between two workers
    redis_url: str,
    stream: str,
    *,
    devices: Mapping[str, Collection[str]],
    limits: LiveLimits | None = None,
    rights: Asked | None = None,
    details: EventDetails | None = None,
    stored: Any = None,
    past: PastReader | None = None,
    instance_id: str = "one",
    partitions: int = 1,
    allowed_origins: tuple[str, ...] = (),
    embed_origins: tuple[str, ...] = (),
    basemap: str | None = None,
    trusted_proxies: tuple[Network, ...] = (),
    batch_size: int = 1000,
    delay_s: Callable[[], float] = lambda: 0.0,
    review_s: float = 3600,
    path: str = "/live",
    sign_in_url: str | None = None,
) -> AsyncIterator[Side]:
    """Run a live side as a worker does."""
    batches: asyncio.Queue[RecordBatch] = asyncio.Queue(4)
    reader = BroadcastReader(
        redis_url,
        topic=stream,
        partitions=partitions,
        group_prefix="live-broadcast-",
        put=batches.put,
        options=RedisOptions(instance_id=instance_id, batch_size=batch_size, block_ms=20),
    )
    rights = Rights() if rights is None else rights
    stored, observed = stored or Stored(), LiveObserved()
    replay = StreamReplay(redis_url)
    entries = Entries(devices)
    live = LiveSide(
        streams=reader.streams,
        source=reader,
        replay=replay,
        authenticator=rights,
        authorizer=rights,
        details=details or Details({}),
        device_events=entries,
        stored=stored,
        limits=limits or LiveLimits(),
        max_ahead_s=MAX_AHEAD_S,
        review_s=review_s,
        sign_in_url=sign_in_url,
        observer=observed,
    )
    routes = LiveRoutes(
        live,
        past=past or NoPast(),
        device_events=entries,
        page=PageOptions(path=path, authentication="none", embed_origins=embed_origins, basemap=basemap),
        allowed_origins=allowed_origins,
        trusted_proxies=trusted_proxies,
    )
    app = web.Application(**APPLICATION_OPTIONS)
    routes.add_to(app)
    runner = routes.runner(app, access_log=None, shutdown_timeout=1)
    async with contextlib.AsyncExitStack() as stack:
        redis = Redis.from_url(redis_url)
        stack.push_async_callback(redis.aclose)
        stack.push_async_callback(replay.close)
        await stack.enter_async_context(live)
        await stack.enter_async_context(reader)
        agent = asyncio.create_task(_broadcast(batches, live, delay_s))
        stack.push_async_callback(_cancel, agent)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        http = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        port = runner.addresses[0][1]
        await eventually(lambda: live.accepting, message="the broadcast begins")
        side = Side(
            live, reader, rights.cookie, stored, entries, observed, redis, stream, port, partitions, routes, http
        )
        stack.push_async_callback(_close, side)
        yield side


async def _broadcast(batches: asyncio.Queue[RecordBatch], live: LiveSide, delay_s: Callable[[], float]) -> None:
    while True:
        batch = await batches.get()
        await asyncio.sleep(delay_s())
        await live.deliver(batch)


async def _close(side: Side) -> None:
    await asyncio.gather(*(socket.close() for socket in side.sockets))


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def ask(socket: ClientWebSocketResponse, **frame: Any) -> dict[str, Any]:
    """Send a frame and return the next one that comes."""
    await socket.send_json(frame)
    return await receive(socket)


def entry_of(frame: dict[str, Any]) -> str:
    """Return how far a frame's cursor stands, without the mark of the devices that the client knows."""
    return split(frame["cursor"])[0]


async def receive(socket: ClientWebSocketResponse, timeout_s: float = 30) -> dict[str, Any]:
    message = await socket.receive(timeout_s)
    assert message.type is WSMsgType.TEXT, f"{message!r}, close code {socket.close_code}"
    frame: dict[str, Any] = msgspec.json.decode(message.data)
    return frame


async def close_code(socket: ClientWebSocketResponse, timeout_s: float = 30) -> int | None:
    """Read what comes until the server closes, and return why."""
    async with asyncio.timeout(timeout_s):
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.CLOSE:
                # Not the socket's: that is 1006 when the answer to the close frame came too late.
                return int(message.data)
            if message.type in {WSMsgType.CLOSED, WSMsgType.ERROR}:
                return socket.close_code
