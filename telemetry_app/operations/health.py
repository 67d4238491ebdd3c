"""Whether a worker is ready, asked of everything it depends on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from telemetry_app.redaction import redact_url

WhyNotReady = Callable[[], Awaitable[str | None]]

logger = logging.getLogger(__name__)

OK: Final = "ok"
PROBE_TIMEOUT_S: Final = 2.0
# What is not ready may be a moment later, at a start above all: who waits for it must not wait for the cache.
NOT_READY_CACHE_S: Final = 0.2
# A reason is for one line of a terminal or a dashboard.
MAX_REASON_CHARS: Final = 300


class Probe(NamedTuple):
    """Something that a worker depends on.

    Attributes:
        name: As readiness shows it.
        why_not_ready: Returns None when it is ready, else the reason why not.
        cache_s: How long "ready" is used, in seconds; a reason why not is used for 0.2 s at most.
        note: Returns what to say although it is ready; None for nothing.
    """

    name: str
    why_not_ready: WhyNotReady
    cache_s: float = 0.0
    note: Callable[[], str | None] | None = None


class Readiness:
    """Named probes, asked together.

    A probe returns None when what it looks at is ready, else the reason why not. One that takes longer than
    `timeout_s` seconds, or raises, is not ready. Whoever asks while a probe runs waits for that run's answer.
    """

    def __init__(self, *, timeout_s: float = PROBE_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._probes: dict[str, _CachedProbe] = {}
        self._notes: dict[str, Callable[[], str | None]] = {}

    def add(
        self, name: str, probe: WhyNotReady, cache_s: float = 0.0, note: Callable[[], str | None] | None = None
    ) -> None:
        """Add a probe whose answer is used for `cache_s` seconds, and perhaps what to say besides.

        Raises:
            ValueError: There is a probe of that name.
        """
        if name in self._probes:
            raise ValueError(f"there is a probe named {name} already")
        self._probes[name] = _CachedProbe(name, probe, cache_s, self._timeout_s)
        if note is not None:
            self._notes[name] = note

    def notes(self) -> dict[str, str]:
        """Return what there is to say of what is ready, by the name of its probe."""
        said = ((name, note()) for name, note in self._notes.items())
        return {name: text for name, text in said if text is not None}

    async def check(self) -> dict[str, str]:
        """Return `ok`, or the reason why not, for each probe, in the order in which they were added."""
        answers = await asyncio.gather(*(probe.ask() for probe in self._probes.values()))
        return dict(zip(self._probes, answers, strict=True))


class _CachedProbe:
    def __init__(self, name: str, probe: WhyNotReady, cache_s: float, timeout_s: float) -> None:
        self._name = name
        self._probe = probe
        self._cache_s = cache_s
        self._timeout_s = timeout_s
        self._running: asyncio.Task[str] | None = None
        self._answer = OK
        self._expires = float("-inf")

    async def ask(self) -> str:
        if asyncio.get_running_loop().time() < self._expires:
            return self._answer
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name=f"readiness of {self._name}")
        # One impatient caller that hangs up must not end the run that others wait for.
        return await asyncio.shield(self._running)

    async def _run(self) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                self._answer = _tidy(await self._probe() or OK)
        except TimeoutError:
            self._answer = f"no answer within {self._timeout_s:g} s"
        except Exception as exc:
            # Whatever a probe raises, the answer is "not ready" and not a 500.
            self._answer = _tidy(f"{type(exc).__name__}: {exc}")
            logger.debug("readiness of %s could not be asked", self._name, exc_info=True)
        finally:
            cache_s = self._cache_s if self._answer == OK else min(self._cache_s, NOT_READY_CACHE_S)
            self._expires = asyncio.get_running_loop().time() + cache_s
            self._running = None
        return self._answer


def _tidy(reason: str) -> str:
    return redact_url(" ".join(reason.split()))[:MAX_REASON_CHARS]
