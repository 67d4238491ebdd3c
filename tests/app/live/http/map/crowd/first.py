"""How long the map takes to its first dot on a slow line, and what it loads until then."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.app.live.http.map.crowd.devtools import DevTools
from tests.support.waiting import eventually

#: 1.6 Mbit/s and 60 ms, for the page and for each of its workers.
SLOW_LINE = {"offline": False, "latency": 60, "downloadThroughput": 200_000, "uploadThroughput": 200_000}
#: Of all that is drawn only the markers are points.
WATCH = """
const draw = WebGL2RenderingContext.prototype.drawArrays;
WebGL2RenderingContext.prototype.drawArrays = function (mode, first, count) {
  draw.call(this, mode, first, count);
  if (mode === this.POINTS && count > 0) reported("dot");
};
const reported = (name) => seen.has(name) || (seen.add(name), report(`${name} ${performance.now()}`));
const seen = new Set();
new MutationObserver(() => document.body?.dataset.state === "live" && reported("live"))
  .observe(document, { subtree: true, childList: true, attributes: true });
new PerformanceObserver((list) => list.getEntriesByName("first-contentful-paint").forEach(() => reported("shell")))
  .observe({ type: "paint", buffered: true });
"""
_FIRST_S = 120
#: What is still to come after the first dot has come when nothing has for so long.
_QUIET_S = 2.0
_SETTLED = {"Network.loadingFinished", "Network.loadingFailed"}


class Resource(NamedTuple):
    """What was loaded: when, in milliseconds since the page was asked for, and bytes on the wire, headers included."""

    name: str
    start_ms: float
    end_ms: float
    bytes: int


@dataclass
class Load:
    """One load of the page by a browser that knows nothing of it.

    Attributes:
        marks: When the shell was painted, the first dot was drawn, and the page said "Live"; in milliseconds.
        resources: In the order in which they were asked for.
    """

    marks: dict[str, float] = field(default_factory=dict)
    resources: list[Resource] = field(default_factory=list)

    @property
    def bytes_until_dot(self) -> int:
        """What had come whole when the first dot was drawn."""
        return sum(resource.bytes for resource in self.resources if resource.end_ms <= self.marks["dot"])


class _Watch:
    """Slows page and workers down, and writes down what they load."""

    def __init__(self, tools: DevTools) -> None:
        self.load = Load()
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._moved_at = 0.0
        self._tools = tools
        self._asked: dict[str, tuple[str, float]] = {}
        self._lengths: dict[str, int] = {}
        self._began_s: float | None = None
        self._preparing: set[asyncio.Task[None]] = set()

    async def prepare(self, session: str) -> None:
        """Let what was attached to go on once it is slowed down and watched."""
        await self._tools.ask("Network.enable", session)
        # A worker is slowed down by the browser's process, though its own says that it does not know this.
        with contextlib.suppress(RuntimeError):
            await self._tools.ask("Network.emulateNetworkConditions", session, **SLOW_LINE)
        attach = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        await self._tools.ask("Target.setAutoAttach", session, **attach)
        await self._tools.ask("Runtime.runIfWaitingForDebugger", session)

    def hear(self, method: str, said: dict[str, Any]) -> None:
        """Take what the browser says of the page or a worker."""
        if method == "Target.attachedToTarget":
            task = asyncio.create_task(self.prepare(said["sessionId"]))
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)
        elif method == "Runtime.bindingCalled":
            name, ms = said["payload"].split()
            self.load.marks[name] = float(ms)
            if {"dot", "live"} <= self.load.marks.keys() and not self.first.done():
                self.first.set_result(None)
        elif method == "Network.requestWillBeSent" and said["request"]["url"].startswith("http"):
            self._began_s = said["timestamp"] if self._began_s is None else self._began_s
            parts = urlsplit(said["request"]["url"])
            self._asked[said["requestId"]] = (parts.path, said["timestamp"])
        elif method == "Network.webSocketWillSendHandshakeRequest":
            self._asked[said["requestId"]] = ("WebSocket", said["timestamp"])
        elif method == "Network.responseReceived":
            headers = {name.lower(): value for name, value in said["response"]["headers"].items()}
            self._lengths[said["requestId"]] = int(headers.get("content-length", 0))
        elif method == "Network.webSocketFrameReceived":
            self._settle(said | {"encodedDataLength": len(said["response"]["payloadData"])})
        elif method in _SETTLED:
            self._settle(said)

    def is_quiet(self) -> bool:
        """Tell whether nothing is on its way, or was for a while."""
        return not self._asked and asyncio.get_running_loop().time() - self._moved_at > _QUIET_S

    def _settle(self, said: dict[str, Any]) -> None:
        """Write down what has come; of a socket, its first frame."""
        asked = self._asked.pop(said["requestId"], None)
        if asked is None or self._began_s is None:
            return
        self._moved_at = asyncio.get_running_loop().time()
        name, start_s = asked
        start_ms, end_ms = (1000 * (at_s - self._began_s) for at_s in (start_s, said["timestamp"]))
        # Of the script of a worker the browser counts the headers only.
        size = max(round(said.get("encodedDataLength", 0)), self._lengths.get(said["requestId"], 0))
        self.load.resources.append(Resource(name, start_ms, end_ms, size))


async def load_once(tools: DevTools, address: str) -> Load:
    """Open the map where nothing of it is known yet, until its first dot and all that comes after."""
    async with tools.tab(WATCH) as session:
        watch = _Watch(tools)
        tools.listener = watch.hear
        await watch.prepare(session)
        await tools.ask("Runtime.enable", session)
        await tools.ask("Runtime.addBinding", session, name="report")
        await tools.ask("Page.navigate", session, url=address)
        await asyncio.wait_for(watch.first, _FIRST_S)
        await eventually(watch.is_quiet, timeout_s=_FIRST_S, message="all has come")
        watch.load.resources.sort(key=lambda resource: resource.start_ms)
        return watch.load
