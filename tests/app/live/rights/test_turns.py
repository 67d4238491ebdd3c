"""Whose turn it is, and that none gets lost."""

from __future__ import annotations

import asyncio

from telemetry_app.live.rights.turns import Turns


async def test_by_turns_and_in_order() -> None:
    """Who waits for one client passes in the order of coming; clients take turns, however many wait for each."""
    turns, passed = Turns(1), list[str]()

    async def come(name: str) -> None:
        async with turns.turn(name[0]):
            passed.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
            group.create_task(come(name))
    assert passed == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_who_leaves_keeps_no_turn() -> None:
    """Not when it leaves while it waits, nor in the moment in which its turn comes, nor during it."""
    turns, busy = Turns(1), asyncio.Event()

    async def come() -> None:
        async with turns.turn("a"):
            await busy.wait()

    async with turns.turn("a"):
        waiting, called, during, last = [asyncio.create_task(come()) for _ in range(4)]
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
    # Its turn has come, and it has not noticed yet.
    called.cancel()
    await asyncio.wait((called,))
    await asyncio.sleep(0)
    during.cancel()
    await asyncio.wait((during,))
    busy.set()
    async with asyncio.timeout(10):
        await last
        await come()
