"""Channels that a rebalance leaves alone."""

import asyncio
from typing import Any

import pytest

from faust_redis import App, DrainingChannel
from tests.support.waiting import eventually


@pytest.fixture
async def app() -> App:
    """An application that is not started: to it, flow is suspended."""
    return App("a", broker="redis://127.0.0.1:1")


async def test_value_reaches_every_subscriber(app: App) -> None:
    """A value that is put goes to each agent that iterates over the channel; before there is one it waits."""
    channel = DrainingChannel(app, maxsize=2)
    putting = asyncio.create_task(channel.put("early"))
    await asyncio.sleep(0)
    assert not putting.done()
    readers: list[Any] = [aiter(channel), aiter(channel)]
    await putting
    assert [await anext(reader) for reader in readers] == ["early", "early"]


async def test_full_channel_holds_its_sender_up(app: App) -> None:
    """Beyond its bound a value waits until one was taken: that is the back pressure."""
    channel = DrainingChannel(app, maxsize=1)
    reader: Any = aiter(channel)
    await channel.put(1)
    second = asyncio.create_task(channel.put(2))
    await asyncio.sleep(0)
    assert not second.done()
    assert await anext(reader) == 1
    await second
    assert await anext(reader) == 2


async def test_rebalance_leaves_the_queue_alone(app: App) -> None:
    """When Faust suspends and clears the flow for a rebalance, what is in the channel is handed out all the same."""
    channel = DrainingChannel(app, maxsize=3)
    reader: Any = aiter(channel)
    await channel.put(1)
    app.flow_control.suspend()
    app.flow_control.clear()
    await channel.put(2)
    taken: list[int] = []

    async def take() -> None:
        while True:
            taken.append(await anext(reader))

    taking = asyncio.create_task(take())
    await eventually(lambda: taken == [1, 2])
    taking.cancel()
