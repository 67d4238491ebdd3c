"""A change that ends in the middle, wherever, loses nothing and repeats nothing when it is run again."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.transport.partitions.conftest import Topic, require_all


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """A client whose process ends at its nth answer: the server has done what was asked, and nobody learns of it.

    Args:
        client: The real one.
        lives: How many answers arrive.
    """

    def __init__(self, client: Any, lives: int) -> None:
        self._client = client
        self._lives = lives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def _answered(self) -> None:
        self._lives -= 1
        if self._lives < 0:
            raise Killed

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        answer = await self._client.execute_command(*args, **options)
        self._answered()
        return answer

    def register_script(self, source: str) -> Any:
        script = self._client.register_script(source)

        async def run(**arguments: Any) -> Any:
            answer = await script(**arguments)
            self._answered()
            return answer

        return run

    def pipeline(self, *, transaction: bool) -> Any:
        pipeline = self._client.pipeline(transaction=transaction)
        execute = pipeline.execute

        async def answered(**options: Any) -> Any:
            answer = await execute(**options)
            self._answered()
            return answer

        pipeline.execute = answered
        return pipeline


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
async def test_after_every_step(topic: Topic, quick: None, before: int, after: int) -> None:  # noqa: ARG001
    """Whichever answer was the last one, the next run brings everything to where it belongs."""
    for steps in count():
        left = await topic.fill(before, devices=4)
        try:
            await topic.change(after, client=Mortal(topic.client, steps))
        except Killed:
            await topic.expire_leases()
            await topic.change(after)
        else:
            assert steps > 20
            return
        await require_all(topic, left, after)
        await topic.clear()


@pytest.mark.timeout(300)
async def test_after_every_step_by_a_change_to_another_number(topic: Topic, quick: None) -> None:  # noqa: ARG001
    """What was begun is finished or undone, before the next change."""
    for steps in count():
        left = await topic.fill(2, devices=4)
        try:
            await topic.change(3, client=Mortal(topic.client, steps))
        except Killed:
            await topic.expire_leases()
            await topic.change(1)
        else:
            return
        await require_all(topic, left, 1)
        await topic.clear()
