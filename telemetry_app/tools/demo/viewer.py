"""One spectator of the demo, who notes how long each position took to arrive."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import msgspec

_RECONNECT_S = 0.5
_CLOSING = aiohttp.ClientWSTimeout(ws_close=1)
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)


class _Frame(msgspec.Struct):
    type: str
    cursor: str = ""


class Viewer:
    """Subscribes to an event over a WebSocket and stays subscribed.

    Attributes:
        latencies_ms: For each position received, the time since its entry was added to the stream.
    """

    def __init__(self, url: str, topic: str) -> None:
        self._url = url
        self._subscribe = msgspec.json.encode({"type": "subscribe", "topic": topic}).decode()
        self._decode = msgspec.json.Decoder(_Frame).decode
        self.latencies_ms: list[float] = []
        self.watching = asyncio.Event()

    async def watch(self) -> None:
        """Receive until cancelled, connecting again when the worker goes away."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                try:
                    async with session.ws_connect(self._url, timeout=_CLOSING) as socket:
                        await self._receive(socket)
                except aiohttp.ClientError:
                    self.watching.clear()
                await asyncio.sleep(_RECONNECT_S)

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_str(self._subscribe)
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            frame = self._decode(message.data)
            if frame.type == "position" and frame.cursor:
                # A cursor of one partition begins with the time of the entry; what was there before has none.
                self.latencies_ms.append(time.time() * 1000 - int(frame.cursor.partition("-")[0]))
            elif frame.type == "subscribed":
                self.watching.set()
