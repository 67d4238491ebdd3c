"""Work that several clients wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Does what is asked for by the same key once for all who ask meanwhile, and gives it up when all have left."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}
        self._waiting: dict[asyncio.Task[T], int] = {}

    async def get(self, key: Hashable, do: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `do()` gives, by whoever's it is; raise what it raises."""
        task = self._tasks.get(key)
        if task is None or task.cancelling():
            task = self._tasks[key] = asyncio.create_task(do())
            task.add_done_callback(lambda done: self._tasks.pop(key) if self._tasks.get(key) is done else None)
        self._waiting[task] = self._waiting.get(task, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[task] -= 1
            if not self._waiting[task]:
                del self._waiting[task]
                task.cancel()
