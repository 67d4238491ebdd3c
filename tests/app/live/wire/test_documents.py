"""The protocol document and the client examples."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from telemetry_app.live.clients.limits import LiveLimits
from telemetry_app.live.ports import Authorization, Credentials
from telemetry_app.live.wire.asyncapi import document
from telemetry_app.live.wire.encoding import Form
from telemetry_app.live.wire.protocol import CloseCode
from tests.app.live.harness import Rights, Side, live_side, race_ms
from tests.app.live.records import live_position
from tests.support.waiting import eventually

DOCS = Path(__file__).parents[4] / "docs"
NODE = shutil.which("node") or "node"
CLIENTS = {
    "python": [sys.executable, str(DOCS / "examples" / "client.py"), "http"],
    "javascript": [NODE, "--experimental-websocket", "--no-warnings", str(DOCS / "examples" / "client.mjs"), "ws"],
}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for element in value:
            yield from references(element)


def test_the_committed_document_is_the_generated_one() -> None:
    """docs/asyncapi.json is what the frames say."""
    assert json.loads((DOCS / "asyncapi.json").read_text()) == json.loads(json.dumps(document()))


def test_the_document_is_asyncapi_3() -> None:
    """It has what AsyncAPI 3.0 demands, and every reference leads somewhere."""
    api = document()
    assert api["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= api["info"].keys()
    assert {"action", "channel", "messages"} <= api["operations"]["request"].keys()
    assert {operation["action"] for operation in api["operations"].values()} == {"send", "receive"}
    channel = api["channels"]["live"]
    operations = [ref["$ref"] for operation in api["operations"].values() for ref in operation["messages"]]
    assert sorted(operations) == sorted(f"#/channels/live/messages/{name}" for name in channel["messages"])
    found = list(references(api))
    assert len(found) > 20
    for reference in found:
        target: Any = api
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_every_frame_is_described_by_its_type() -> None:
    """Each message has a summary and a payload whose `type` is fixed, `type` being required."""
    api = document()
    types = set()
    for message in api["components"]["messages"].values():
        assert len(message["summary"]) > 20
        schema = api["components"]["schemas"][message["payload"]["$ref"].rsplit("/", 1)[1]]
        assert "type" in schema["required"]
        fixed = schema["properties"]["type"]
        types.add(fixed.get("const") or fixed["enum"][0])
    assert types == {
        *("subscribe", "unsubscribe", "subscribed", "unsubscribed"),
        *("entries", "error", "position", "positions", "removed"),
    }


@contextlib.asynccontextmanager
async def running(side: Side, client: str, path: str = "/live") -> AsyncIterator[tuple[Any, list[str]]]:
    """Run an example; give its process, and its lines as they come."""
    *command, scheme = CLIENTS[client]
    process = await asyncio.create_subprocess_exec(
        *command, f"{scheme}://127.0.0.1:{side.port}{path}", "7", "session=good",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    lines: list[str] = []

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            lines.append(line.decode().strip())  # noqa: PERF401 - one by one, as they come

    reading = asyncio.create_task(read())
    try:
        yield process, lines
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_examples_say_what_they_need(client: str) -> None:
    """Without an address and an event an example says how it is called, and nothing else."""
    *command, _ = CLIENTS[client]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await process.communicate()
    assert (process.returncode, said) == (1, b"")
    assert complained.decode().splitlines()[0].startswith("Watch an event: ")
    assert len(complained.splitlines()) == 1


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_examples_come_back(redis_url: str, stream: str, client: str) -> None:
    """An example shows the snapshot and what follows in batches, and after a lost connection what it missed, once."""
    async with live_side(redis_url, stream, devices={"7": ["a", "b"]}) as side:
        ts = race_ms()
        side.stored.store(live_position("a", ts))
        async with running(side, client) as (_, lines):
            await eventually(lambda: lines in ([f"a 41 21 {ts}"], [f"a 41.0 21.0 {ts}"]), timeout_s=30)
            await side.publish("a", ts + 1)
            await eventually(lambda: len(lines) == 2)
            for connection in side.live.registry.connections:
                connection.abort()
            await side.publish("b", ts + 2)
            await eventually(lambda: len(lines) == 3)
            await side.publish("a", ts + 3)
            await eventually(lambda: len(lines) == 4)
            # Some versions of Node do not offer compression.
            assert {subscription.form for subscription in side.live.registry} <= {Form.BATCH, Form.DEFLATED}
            assert [line.split()[0::3] for line in lines] == [
                ["a", str(ts)],
                ["a", str(ts + 1)],
                ["b", str(ts + 2)],
                ["a", str(ts + 3)],
            ]
            side.entries.change({"7": ["a"]})
            await eventually(lambda: lines[4:] == ["b is not shown any more"])


class Moody(Rights):
    """Gives these answers about events, then `ok`."""

    def __init__(self, *results: Literal["error", "forbidden", "not-found"]) -> None:
        super().__init__()
        self._results = list(results)

    async def may_see(self, event_id: str, credentials: Credentials) -> Authorization:
        answer = await super().may_see(event_id, credentials)
        return Authorization(self._results.pop(0)) if self._results else answer


async def last_words(process: Any) -> tuple[int, str]:
    words = await asyncio.wait_for(process.stderr.read(), 30)
    return await process.wait(), words.decode().strip()


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_examples_say_why_they_end(redis_url: str, stream: str, client: str) -> None:
    """They end with the sentence of the server when an upgrade or an event is refused for good."""
    nobody = Rights()
    nobody.closed = True
    expected = [
        (nobody, "no-session: You are not signed in. Please sign in."),
        (Moody("forbidden"), "forbidden: You may not see this event."),
        (Moody("not-found"), "not-found: There is no such event."),
    ]
    for rights, words in expected:
        async with (
            live_side(redis_url, stream, devices={}, rights=rights) as side,
            running(side, client) as (process, _),
        ):
            assert await last_words(process) == (1, words)


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_examples_end_where_nothing_is(redis_url: str, stream: str, client: str) -> None:
    """An address that is not the WebSocket's is told, not tried for ever."""
    async with live_side(redis_url, stream, devices={}) as side, running(side, client, "/ws/live") as (process, _):
        assert await last_words(process) == (1, "not-found: There is no such page.")


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_examples_come_back_after_what_passes(redis_url: str, stream: str, client: str) -> None:
    """Rights that cannot be asked, and a server that is full, are tried again until the positions come."""
    limits = LiveLimits(max_connections=1)
    async with live_side(redis_url, stream, devices={"7": ["a"]}, rights=Moody("error"), limits=limits) as side:
        ts = race_ms()
        side.stored.store(live_position("a", ts))
        occupant = await side.connect()
        async with running(side, client) as (process, lines):
            await eventually(lambda: side.observed.counts["refused full"], timeout_s=30)
            await occupant.close()
            await eventually(lambda: len(lines) == 1, timeout_s=30)
            assert process.returncode is None


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_examples_end_with_the_session(redis_url: str, stream: str, client: str) -> None:
    """A session that ends under way ends them too."""
    rights = Rights()
    async with (
        live_side(redis_url, stream, devices={"7": ["a"]}, rights=rights) as side,
        running(side, client) as (process, _),
    ):
        await eventually(lambda: list(side.live.registry), timeout_s=30)
        rights.closed = True
        for connection in list(side.live.registry.connections):
            connection.close(CloseCode.SESSION_ENDED)
        assert await last_words(process) == (1, "no-session: You are not signed in. Please sign in.")
