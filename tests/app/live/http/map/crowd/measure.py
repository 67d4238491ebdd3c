"""What the page does with its time and memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import psutil
from playwright.async_api import CDPSession, Page

#: Installed before the page's own scripts.
WATCH = """
window.seen = { longTasks: [], inputs: [] };
new PerformanceObserver((list) => {
  for (const { startTime, duration } of list.getEntries()) window.seen.longTasks.push([startTime, duration]);
}).observe({ type: "longtask", buffered: true });
new PerformanceObserver((list) => {
  for (const { name, startTime, processingStart, processingEnd, duration } of list.getEntries())
    window.seen.inputs.push([name, processingStart - startTime, processingEnd - processingStart, duration]);
}).observe({ type: "event", durationThreshold: 16, buffered: true });
"""
#: Draws nothing: on a machine without a graphics card drawing is the work of the processor, and of nobody's code.
WITHOUT_DRAWING = """
for (const name of ["drawArrays", "drawElements"]) WebGL2RenderingContext.prototype[name] = () => undefined;
"""
TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline", "toplevel"]
#: A worker in the middle of a burst of frames answers after it.
ANSWER_S = 60
_MAIN_THREAD = "CrRendererMain"


class Call(NamedTuple):
    """A call of a script by the browser; processor time in milliseconds."""

    script: str
    function: str
    ms: float


class Task(NamedTuple):
    """A task of the page's thread; processor time in milliseconds, and the calls of scripts in it."""

    ms: float
    calls: list[Call]


def tasks_in(trace: bytes, at_least_ms: float) -> list[Task]:
    """Return the tasks of a recorded trace that took this processor time, the longest first."""
    events = json.loads(trace)["traceEvents"]
    threads = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == _MAIN_THREAD}
    on_thread = [e for e in events if (e["pid"], e["tid"]) in threads and e.get("ph") == "X"]
    calls = [e for e in on_thread if e["name"] in {"FunctionCall", "EvaluateScript", "v8.evaluateModule"}]
    long = [e for e in on_thread if e["name"] == "RunTask" and e.get("tdur", 0) >= 1000 * at_least_ms]
    found = [Task(task["tdur"] / 1000, list(_calls_in(task, calls))) for task in long]
    return sorted(found, key=lambda task: -task.ms)


def _calls_in(task: dict[str, Any], calls: list[dict[str, Any]]) -> Iterator[Call]:
    end = 0
    for call in calls:
        inside = call["pid"] == task["pid"] and task["ts"] <= call["ts"] < task["ts"] + task["dur"]
        # Of calls in calls, the outermost.
        if not inside or call["ts"] < end:
            continue
        end = call["ts"] + call["dur"]
        data = call["args"].get("data", {})
        yield Call(data.get("url", "").rpartition("/")[2], data.get("functionName", ""), call.get("tdur", 0) / 1000)


class Heaps:
    """The heaps of a page and of its workers."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._session: CDPSession | None = None
        self._workers: list[str] = []
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def attach(self) -> None:
        """Hear of the page's workers from now on."""
        self._session = session = await self._page.context.new_cdp_session(self._page)
        session.on("Target.attachedToTarget", lambda event: self._workers.append(event["sessionId"]))
        session.on("Target.receivedMessageFromTarget", self._receive)
        # Playwright has no sessions for workers: messages to them go through that of the page.
        options = {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False}
        await session.send("Target.setAutoAttach", options)

    async def used_bytes(self) -> int:
        """Return what is used after a collection of garbage, buffers included."""
        assert self._session is not None
        await self._session.send("HeapProfiler.collectGarbage")
        usages = [await self._session.send("Runtime.getHeapUsage")]
        for worker in self._workers:
            await self._ask(worker, "HeapProfiler.collectGarbage")
            usages.append(await self._ask(worker, "Runtime.getHeapUsage"))
        return sum(int(usage["usedSize"] + usage["backingStorageSize"]) for usage in usages)

    async def _ask(self, worker: str, method: str) -> dict[str, Any]:
        assert self._session is not None
        message = json.dumps({"id": 1, "method": method})
        await self._session.send("Target.sendMessageToTarget", {"sessionId": worker, "message": message})
        return await asyncio.wait_for(self._answers.get(), ANSWER_S)

    def _receive(self, event: dict[str, Any]) -> None:
        message = json.loads(event["message"])
        if "result" in message:
            self._answers.put_nowait(message["result"])


def resident_bytes() -> int:
    """Return what the renderers of the browsers that this process has started hold in memory."""
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_info().rss for child in children if "--type=renderer" in child.cmdline())
