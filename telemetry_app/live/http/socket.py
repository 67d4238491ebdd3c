"""Reading from a WebSocket, and ending it."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader

from telemetry_app.live.wire.deflate import inflated
from telemetry_app.live.wire.frames import pong_frame
from telemetry_app.live.wire.protocol import CloseCode
from telemetry_app.serving import handler

if TYPE_CHECKING:
    from aiohttp._websocket.writer import WebSocketWriter

    from telemetry_app.live.clients.connection import Connection
    from telemetry_app.live.clients.limits import LiveLimits
    from telemetry_app.live.delivery.requests import RequestHandler

_POLL_S: Final = 0.05
#: What clients send is read ahead of what is answered by so much, as aiohttp does.
_READ_AHEAD_BYTES: Final = 1 << 16


class LiveSocket(web.WebSocketResponse):
    """Uses aiohttp's WebSocket for the handshake and for reading; a `Connection` does all writing.

    aiohttp's own close waits without limit until the client has read everything, and its own agreement on compression
    keeps a context of 14 KB for each client.

    Args:
        limits: Of each client.
        extension: What was agreed with it, see `deflate.agree`; None = messages are not compressed.
    """

    connection: Connection | None = None

    def __init__(self, limits: LiveLimits, extension: str | None) -> None:
        self._limits = limits
        super().__init__(
            max_msg_size=limits.max_frame_bytes,
            compress=False,
            autoping=False,
            autoclose=False,
            # Bytes that are not UTF-8 are a bad request like any other.
            decode_text=False,
        )
        self.deflates = extension is not None
        if extension is not None:
            self.headers["Sec-WebSocket-Extensions"] = extension

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter) -> None:  # noqa: ARG002 - aiohttp's signature
        """Do what aiohttp does, with a reader of our own."""
        self._reader = WebSocketDataQueue(request.protocol, _READ_AHEAD_BYTES, loop=asyncio.get_running_loop())
        self.reader = self._parser = LiveReader(self._reader, self._limits, deflates=self.deflates)
        self._handler = request.protocol
        request.protocol.set_parser(self._parser)
        request.protocol.keep_alive(False)  # noqa: FBT003 - aiohttp's signature

    def serve(self, connection: Connection) -> None:
        """Read for a client from now on."""
        self.connection = self.reader.connection = connection
        # Another server, as Faust's, does not tell.
        if isinstance(self._handler, handler.RequestHandler):
            self._handler.on_lost = connection.disturb
            connection.end_is_announced = True

    async def close(self, *, code: int = CloseCode.SHUTDOWN, message: bytes = b"", drain: bool = True) -> bool:  # noqa: ARG002 - aiohttp's signature
        """Say why, without waiting. aiohttp calls this when a client breaks the protocol, and at the end."""
        if self.connection is not None:
            self.connection.close(code, message)
        return True


class LiveReader(WebSocketReader):
    """Reads the frames of a client, and keeps nothing of one compressed message for the next.

    A compressed message in several fragments is left to aiohttp, which is bounded too. A sign of life is taken at once:
    to wake the client's task for it takes as long as all the rest, and of thousands of clients hundreds come a second.

    Attributes:
        connection: The client's, once it is served.
        budget: What it may send.
    """

    __slots__ = ("_max_bytes", "budget", "connection")

    def __init__(self, queue: WebSocketDataQueue, limits: LiveLimits, *, deflates: bool) -> None:
        super().__init__(queue, limits.max_frame_bytes, compress=deflates, decode_text=False)
        self._max_bytes = limits.max_frame_bytes
        self.connection: Connection | None = None
        self.budget = Budget(limits.frames_per_s, limits.frames_burst, asyncio.get_running_loop().time())

    def _handle_frame(self, fin: bool, opcode: int, payload: bytes | bytearray, compressed: int) -> None:  # noqa: FBT001 - aiohttp's signature
        if type(payload) is bytes:
            # Unmasking makes an array of it. A client that does not mask lets others put words into proxies' mouths.
            raise WebSocketError(WSCloseCode.PROTOCOL_ERROR, "Not masked")
        # One too many is left to the client's task, which ends the connection.
        if opcode == WSMsgType.PONG and self.connection and self.budget.take(self.connection.hear()):
            return
        try:
            if compressed and fin and opcode in {WSMsgType.TEXT, WSMsgType.BINARY}:
                payload, compressed = inflated(bytes(payload), self._max_bytes + 1), 0
            if len(payload) > self._max_bytes:
                raise WebSocketError(WSCloseCode.MESSAGE_TOO_BIG, "Too large a message")
            super()._handle_frame(fin, opcode, payload, compressed)
        except zlib.error:
            raise WebSocketError(WSCloseCode.INVALID_TEXT, "Not a compressed message") from None


class Budget:
    """Limits frames as a token bucket: so many per second in the long run, and a burst."""

    __slots__ = ("_burst", "_left", "_per_s", "_seen_at")

    def __init__(self, per_s: float, burst: int, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._seen_at = now

    def take(self, now: float) -> bool:
        """Take one frame; False when none is left."""
        self._left = min(self._burst, self._left + (now - self._seen_at) * self._per_s)
        self._seen_at = now
        self._left -= 1
        return self._left >= 0


async def converse(socket: LiveSocket, connection: Connection, requests: RequestHandler) -> None:
    """Answer what a client sends until either side closes, then wait for the other to agree."""
    socket.serve(connection)
    limits, budget = requests.limits, socket.reader.budget
    while not connection.gone:
        message = await socket.receive()
        now = connection.hear()
        if message.type is WSMsgType.CLOSE:
            connection.close(_answer_to(message.data))
            break
        if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG}:
            break
        if connection.closing:
            continue
        if not budget.take(now):
            connection.close(CloseCode.TOO_MANY_REQUESTS)
        elif message.type is not WSMsgType.PONG:
            # Answers to a client that asks but does not read must not pile up.
            await connection.wait_for_room(limits.slow_client_bytes // 2)
            if message.type is WSMsgType.PING:
                connection.write(pong_frame(message.data))
            else:
                await requests.handle(connection, message.data)
    await _linger(connection, message.type)


async def _linger(connection: Connection, last: Any) -> None:
    """Give a client that broke the protocol time to read why; see `Connection.close`."""
    while last is WSMsgType.ERROR and not connection.gone:  # noqa: ASYNC110 - transports have no event
        await asyncio.sleep(_POLL_S)
    connection.hang_up()


def _answer_to(code: int | None) -> int:
    """Return the close code that answers one: the same, or 1000 when there was none."""
    return code or 1000
