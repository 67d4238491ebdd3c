"""Sockets of spectators to whole workers, and the event they watch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import pytest

from telemetry_app.tools.embedded.worker import WorkerProcess

RECEIVE_S: Final = 30
TABLES = """
CREATE TABLE entries (id integer PRIMARY KEY, event_id text NOT NULL);
CREATE TABLE entry_devices (id integer PRIMARY KEY, entry_id integer NOT NULL, device_id text NOT NULL);
"""


class Client:
    """A spectator's socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def receive(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self._socket.receive_str(timeout=RECEIVE_S))
        return frame

    async def close_code(self) -> int | None:
        while not (await self._socket.receive(timeout=RECEIVE_S)).type.name.startswith("CLOS"):
            pass
        return self._socket.close_code

    async def subscribe(self, event_id: str, **more: object) -> dict[str, Any]:
        await self._socket.send_json({"type": "subscribe", "topic": f"event:{event_id}", **more})
        return await self.receive()


class Spectators:
    """An event with ten devices (0 to 9), a user who may see it, and sockets to a worker.

    Attributes:
        event_id: The event.
        cookie: Of a session that may see it.
    """

    def __init__(self, http: aiohttp.ClientSession, event_id: str, cookie: str) -> None:
        self._http = http
        self.event_id = event_id
        self.cookie = cookie

    @contextlib.asynccontextmanager
    async def connect(self, worker: WorkerProcess, **headers: str) -> AsyncIterator[Client]:
        url = f"{worker.live_url}/live"
        async with self._http.ws_connect(url, headers={"Cookie": self.cookie} | headers) as socket:
            yield Client(socket)

    async def refusal(self, worker: WorkerProcess, headers: dict[str, str]) -> int:
        url = f"{worker.live_url}/live"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await self._http.ws_connect(url, headers=headers)
        return refused.value.status
