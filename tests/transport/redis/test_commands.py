"""The list of commands that a user of Redis needs is what the transport sends, and what the handbook says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from faust_redis.redis.client import close, connect
from faust_redis.redis.commands import COMMANDS, DEAD_LETTER_COMMANDS
from faust_redis.stream.dead_letters import DeadLetters
from tests.conftest import ValkeyFactory
from tests.deploy import handbook
from tests.support.waiting import eventually
from tests.transport.apps import TransportApp, names
from tests.transport.broadcast.test_reader import reading
from tests.transport.conftest import AppFactory, Stream

EVERYTHING = (*COMMANDS, *DEAD_LETTER_COMMANDS)


@pytest.fixture
async def own(valkey_factory: ValkeyFactory) -> AsyncIterator[Stream]:
    """The records on a server of the test's own, whose user w may do what is listed and nothing else."""
    server = valkey_factory()
    async with Redis.from_url(server.url) as client:
        admin: Any = client
        await admin.execute_command("ACL", "SETUSER", "w", "on", "nopass", "~*", *(f"+{name}" for name in EVERYTHING))
        yield Stream(client, server.url.replace("redis://", "redis://w:x@"), "s")


async def refuse_one(_app: TransportApp, event: Any) -> None:
    for entry_id, fields in event.value:
        if fields[1] == b"bad":
            event.value.refuse(entry_id, "bad", "it is bad")


async def test_the_list_is_enough(transport_app: AppFactory, own: Stream) -> None:
    """Reading, committing, refusing, taking over, the broadcast and the dead letters are refused no command."""
    options = {"url": own.redis_url, "lease_ttl_ms": 600, "lag_interval_s": 0.1, "redeliver_after_ms": 200}
    await own.redis.xgroup_create(own.name, "group", "0", mkstream=True)
    left = await own.publish(["0", "bad"])
    await own.redis.xreadgroup("group", "gone", {own.name: ">"})
    first = await transport_app(own.name, handle=refuse_one, dead_letter_after=2, **options)
    async with reading(own.redis_url, own.name):
        await own.publish(names("1", 20))
        await eventually(lambda: first.observer.total["acknowledged"] >= 21)
    second = await transport_app(own.name, ready=False, **options)
    await first.stop()
    await eventually(lambda: second.fetching)
    client = connect(own.redis_url)
    letters = DeadLetters(client, [own.name])
    await eventually(letters.count)
    [letter] = [letter async for letter in letters]
    assert letter.original_id.encode() in left
    await letters.replay(letter)
    assert await letters.purge() == 0
    await close(client)
    refusals: Any = await own.redis.acl_log()
    # The client introduces itself, which servers need not permit.
    assert [one for one in refusals if not str(one["object"]).startswith(("client|", "b'client|"))] == []


async def test_the_handbook_permits_the_list(own: Stream) -> None:
    """The user of docs/operations.md may send every command of the list."""
    line = handbook.block("Redis", "redis", "user processor ").split()
    admin: Any = own.redis
    await admin.execute_command("ACL", "SETUSER", *line[1:])
    key = "telemetry:teltonika"
    for name in EVERYTHING:
        words = name.upper().split("|")
        info: Any = await admin.execute_command("COMMAND", "INFO", name)
        arity = abs(int(next(iter(info.values()))["arity"]))
        arguments = [key] * (arity - len(words))
        said = await admin.execute_command("ACL", "DRYRUN", "processor", *words, *arguments)
        assert said in {b"OK", "OK"}, (name, said)
