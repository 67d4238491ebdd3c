"""Who wrote to Redis when, as Redis itself tells it: nobody writes any more who has been succeeded."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Final, NamedTuple

#: What MONITOR says of a command: when, whose it is, its name, and each of its arguments.
_LINE: Final = re.compile(rb'\+(\d+\.\d+) \[\d+ ([^\]]+)\] "([^"]+)"')
_ARGUMENT: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"')
#: Commands of scripts that change nothing.
_READS: Final = frozenset((b"GET", b"HGET", b"TIME", b"TYPE", b"XINFO", b"XLEN", b"XPENDING", b"XRANGE"))
#: A line may hold the states of a whole batch.
_LONGEST_LINE: Final = 1 << 26
_RECONNECT_S: Final = 0.02
#: Within this time servers that run can be listened to.
_PATIENCE_S: Final = 30
#: A script with so many keys does more than look after a lease and its group: it commits, or writes a dead letter.
_COMMITS: Final = 3


class Event(NamedTuple):
    """What a writer did.

    Attributes:
        at_s: When, by the server's clock.
        scope: What one writer at a time may write to: the key of a lease, or of what a partition knows of distributors.
        writer: Fencing token or epoch.
        keys: How many keys its script has; 0 when it only asked for the lease.
        commands: What the script did, by the commands' names.
    """

    at_s: float
    scope: str
    writer: str
    keys: int
    commands: list[bytes]

    @property
    def is_epoch(self) -> bool:
        """Whether the writer is a distributor, whom partitions know by its epoch."""
        return self.writer.isdigit()

    @property
    def commits(self) -> bool:
        """Whether the script is there to write something, not only for the lease and the group."""
        return self.is_epoch or self.keys >= _COMMITS

    @property
    def writes(self) -> bool:
        """Whether the script has written."""
        return not _READS.issuperset(self.commands)

    @property
    def passed(self) -> bool:
        """Whether the script has not ended with its first look, which is one at the lease or at the epoch."""
        return self.writes or (self.commits and len(self.commands) > 1)

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.writer} in {self.scope}: {b' '.join(dict.fromkeys(self.commands)).decode()}"


class Watch:
    """Keeps what MONITOR tells of leases, of the scripts that are called under them, and of what these write.

    It knows no script and trusts no check in one. It knows that the first key is the lease and the first argument the
    token; and of the distribution, what a partition remembers, and that the first argument is the epoch.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []

    @contextlib.asynccontextmanager
    async def following(self, *ports: int) -> AsyncIterator[None]:
        """Listen to the servers on these ports, also after they were restarted, until the block ends.

        All that they do from its beginning on is seen.

        Raises:
            Exception: Something was not understood, so that not everything was seen.
        """
        listening = {port: asyncio.Event() for port in ports}
        tasks = [asyncio.create_task(self._follow(port, begun)) for port, begun in listening.items()]
        try:
            async with asyncio.timeout(_PATIENCE_S):
                for begun in listening.values():
                    await begun.wait()
            yield
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    async def _follow(self, port: int, begun: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._listen(port, begun)
            await asyncio.sleep(_RECONNECT_S)

    async def _listen(self, port: int, begun: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LONGEST_LINE)
        event: Event | None = None
        try:
            writer.write(b"MONITOR\r\n")
            await reader.readuntil(b"+OK\r\n")
            begun.set()
            while True:
                event = self._note(await reader.readuntil(b"\r\n"), event)
        finally:
            self._keep(event)
            writer.close()

    def _note(self, line: bytes, event: Event | None) -> Event | None:
        """Take note of a command; return the event that it begins, or belongs to, which is whole when another comes."""
        found = _LINE.match(line)
        if found and found[2] == b"lua":
            if event is not None:
                event.commands.append(found[3].upper())
            return event
        self._keep(event)
        parse = _PARSERS.get(found[3].upper()) if found else None
        if found is None or parse is None:
            return None
        return parse(float(found[1]), (match[1] for match in _ARGUMENT.finditer(line, found.end())))

    def _keep(self, event: Event | None) -> None:
        if event is not None:
            self._events.append(event)

    @property
    def commits(self) -> int:
        """How many commits there were."""
        return sum(event.commits and event.writes for event in self._events)

    def late(self) -> list[Event]:
        """Return what was done by writers who had been succeeded by then: commits, applied or refused, and all writes.

        A token is new with every acquisition, and known only to who has got the lease. So one that is used at all was
        got where it was asked for, and all tokens before it are over from there on; how long a lease lasts does not
        matter. An epoch is over for a partition that a greater one has written to.
        """
        used = {(event.scope, event.writer) for event in self._events if event.keys}
        asked: dict[tuple[str, str], int] = {}
        latest: dict[str, int] = {}
        late = []
        # The lines of each server are in order; both have been the primary, in turns.
        for place, event in enumerate(sorted(self._events, key=lambda event: event.at_s)):
            one = (event.scope, event.writer)
            rank = int(event.writer) if event.is_epoch else asked.setdefault(one, place)
            if rank < latest.get(event.scope, 0):
                late.append(event)
            elif event.writes if event.is_epoch else not event.keys and one in used:
                latest[event.scope] = rank
        # A script that Redis did not know did nothing, and is sent again.
        return [event for event in late if event.commands and (event.writes or event.commits)]


def _asked(at_s: float, arguments: Iterator[bytes]) -> Event | None:
    """Return who asks for a lease; when Redis brings it to a replica it leaves the NX out."""
    key, token, *options = islice(arguments, 5)
    return Event(at_s, key.decode(), token.decode(), 0, []) if b":lease:" in key and b"NX" in options else None


def _script(at_s: float, arguments: Iterator[bytes]) -> Event | None:
    """Return whose script it is; None for one that needs nobody's."""
    _sha, number = islice(arguments, 2)
    keys = list(islice(arguments, int(number)))
    scope = next((key for key in keys[:2] if b":lease:" in key or key.endswith(b":distribution")), None)
    return None if scope is None else Event(at_s, scope.decode(), next(arguments).decode(), len(keys), [])


_PARSERS: Final = {b"EVALSHA": _script, b"SET": _asked}
