"""A browser spoken to in its own protocol, as is needed to change what a worker meets with its first request."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from aiohttp import ClientSession, ClientWebSocketResponse

from tests.support.servers.chromium import ARGS, chromium
from tests.support.waiting import eventually

_ANSWER_S = 60
_STOP_S = 30
#: Takes a method's name and its parameters.
Listener: TypeAlias = Callable[[str, dict[str, Any]], None]


class DevTools:
    """A connection to a browser, with sessions for its pages and their workers."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.listener: Listener = lambda *_: None
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers to a command, of a session or of its own.

        Raises:
            RuntimeError: It refuses.
        """
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        of_session = {} if session is None else {"sessionId": session}
        await self._socket.send_json({"id": number, "method": method, "params": parameters} | of_session)
        said = await asyncio.wait_for(answer, _ANSWER_S)
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']['message']}")
        return dict(said["result"])

    @contextlib.asynccontextmanager
    async def tab(self, script: str) -> AsyncIterator[str]:
        """Open an empty tab with a profile of its own; yield its session. The script runs before those of its pages."""
        context = (await self.ask("Target.createBrowserContext"))["browserContextId"]
        try:
            target = await self.ask("Target.createTarget", url="about:blank", browserContextId=context)
            attached = await self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            session: str = attached["sessionId"]
            await self.ask("Page.enable", session)
            await self.ask("Page.addScriptToEvaluateOnNewDocument", session, source=script)
            yield session
        finally:
            await self.ask("Target.disposeBrowserContext", browserContextId=context)

    async def evaluate(self, session: str, expression: str) -> Any:
        """Return the value of an expression in a tab; None as long as it throws."""
        said = await self.ask("Runtime.evaluate", session, expression=expression, returnByValue=True)
        return None if "exceptionDetails" in said else said["result"].get("value")

    async def listen(self) -> None:
        """Pass on what the browser says until it goes."""
        async for message in self._socket:
            said = msgspec.json.decode(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            else:
                self.listener(said["method"], said["params"])


@contextlib.asynccontextmanager
async def devtools(*arguments: str) -> AsyncIterator[DevTools]:
    """Run a browser with a profile of its own."""
    program = chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        own = ["--headless", "--remote-debugging-port=0", f"--user-data-dir={profile}", *arguments, "about:blank"]
        env = {**os.environ, **program.env}
        process = await asyncio.create_subprocess_exec(
            program.executable, *ARGS, *own, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env=env
        )
        try:
            port, path = await eventually(partial(_where, Path(profile)), message="the browser listens")
            address = f"ws://127.0.0.1:{port}{path}"
            async with ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
                connection = DevTools(socket)
                listening = asyncio.create_task(connection.listen())
                yield connection
                listening.cancel()
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), _STOP_S)


def _where(profile: Path) -> list[str]:
    """Return port and path of a browser that listens; empty before."""
    written = profile / "DevToolsActivePort"
    return written.read_text().split() if written.exists() else []
