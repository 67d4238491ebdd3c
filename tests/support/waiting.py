"""Small helpers that tests of every part use."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

FIRST_POLL_S = 0.005
LONGEST_POLL_S = 0.1

T = TypeVar("T")


@overload
async def eventually(condition: Callable[[], Awaitable[T]], *, timeout_s: float = ..., message: str = ...) -> T: ...
@overload
async def eventually(condition: Callable[[], T], *, timeout_s: float = ..., message: str = ...) -> T: ...
async def eventually(
    condition: Callable[[], object], *, timeout_s: float = 30, message: str = "the condition holds"
) -> object:
    """Wait until `condition()`, a function or a coroutine function, is true, and return its value.

    Args:
        condition: What is asked again and again; an exception of its own ends the waiting.
        timeout_s: How long it has.
        message: What should come true, for the error.

    Raises:
        AssertionError: It did not; says what the last value was.
    """
    deadline = time.monotonic() + timeout_s
    poll_s = FIRST_POLL_S
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {timeout_s:g} s: {message}; the last value was {value!r}.")
        await asyncio.sleep(poll_s)
        poll_s = min(2 * poll_s, LONGEST_POLL_S)
