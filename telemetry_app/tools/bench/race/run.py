"""What a race costs one worker: trackers that send one by one, and few or many spectators, in one run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import psutil

from telemetry_app.serving.descriptors import needed_for
from telemetry_app.tools.bench.helper import Helper
from telemetry_app.tools.bench.live import prepare
from telemetry_app.tools.bench.race.bare import beside_the_bare_path
from telemetry_app.tools.bench.race.result import Cost, Crowd, Durable, RaceResult, Way, goals
from telemetry_app.tools.bench.race.sends import Send, Sent
from telemetry_app.tools.bench.race.spectators import Compare, Connect, Connected, Taken, Watch, Watched
from telemetry_app.tools.bench.race.trackers import Drive, Driven
from telemetry_app.tools.bench.race.waits import Waits
from telemetry_app.tools.bench.targets import TOPIC
from telemetry_app.tools.bench.usage import allow_open_files, cpu_s, live_frames, rss_kb
from telemetry_app.tools.embedded.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from telemetry_app.tools.embedded.worker import WorkerProcess

DEVICES: Final = 200
HZ: Final = 1.0
#: Above it, a write for each read and spectator takes more than a processor.
_MOST_FOR_EACH: Final = 1000
_FEW: Final = 10
_WARM_UP_ROUNDS: Final = 2
_WARM_UP_SPECTATORS: Final = 500
_STORED_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.02
_EVERYBODY: Final = "1000000"
_VARIABLES: Final = {
    "LIVE_AUTH": "none",
    "LOG_LEVEL": "warning",
    "LIVE_MAX_CONNECTIONS": _EVERYBODY,
    # They come from this machine, and nobody signs in.
    "LIVE_MAX_CONNECTIONS_PER_ADDRESS": _EVERYBODY,
}
#: A write for each read and spectator, as if sending might take the whole worker.
_AT_ONCE: Final = {"LIVE_BROADCAST_SHARE": "1", "LIVE_GATHER_MAX_MS": "0"}


class RacePlan(NamedTuple):
    """Numbers of spectators, and how long each is measured."""

    spectators: Sequence[int]
    seconds: int


class _Case(NamedTuple):
    roles: str
    way: Way
    spectators: int

    @property
    def name(self) -> str:
        return f"{self.spectators:,} spectators, {self.way}, {self.roles}"


async def measure(plan: RacePlan, folder: Path, say: Callable[[str, float], None]) -> RaceResult:
    """Measure each side alone, then both with each number of spectators in each way, on the same servers.

    Args:
        plan: How many, and how long.
        folder: Data folder for the servers; deleted at the end.
        say: Told what is going on, and how much of it is done (0 to 1).

    Raises:
        EmbeddedServerError: A server or a worker did not start.
        RuntimeError: A position came twice or out of order, or was not stored, or the system allows too few open files.
    """
    allow_open_files(needed_for(max(plan.spectators)))
    cases = list(_cases(plan.spectators))
    async with (
        Stack(folder, _VARIABLES) as stack,
        Helper("telemetry_app.tools.bench.race.spectators") as spectators,
        Helper("telemetry_app.tools.bench.race.trackers") as trackers,
        Helper("telemetry_app.tools.bench.race.sends") as sends,
    ):
        await prepare(stack.postgres.url)
        say(f"bare path beside {_FEW} spectators", 0.0)
        compared = await beside_the_bare_path(stack, spectators, rate=round(DEVICES * HZ), seconds=plan.seconds)
        race = _Race(stack, spectators, trackers, sends, plan.seconds)
        crowds: list[Crowd] = []
        for number, case in enumerate(cases, 1):
            say(case.name, number / (len(cases) + 1))
            if crowd := await race.run(case, f"bench:{number}"):
                crowds.append(crowd)
    return RaceResult(DEVICES, HZ, compared, crowds, goals(crowds, compared))


def _cases(numbers: Sequence[int]) -> Iterator[_Case]:
    """Yield what is measured: the sides alone, then both, with every number of spectators in every way."""
    yield _Case("write", Way.PLAIN, 0)
    for few in (0, _FEW):
        yield _Case("live", Way.PLAIN, few)
    yield _Case("write,live", Way.PLAIN, 0)
    for number in numbers:
        for way in Way:
            if way is not Way.EACH or number <= _MOST_FOR_EACH:
                yield _Case("write,live", way, number)


class _Race:
    """Runs the race once for each case, each on a stream of its own."""

    def __init__(self, stack: Stack, spectators: Helper, trackers: Helper, sends: Helper, seconds: int) -> None:
        self._stack = stack
        self._spectators = spectators
        self._trackers = trackers
        self._sends = sends
        self._seconds = seconds

    async def run(self, case: _Case, stream: str) -> Crowd | None:
        """Run the race for a case; None when the server does not send in this way."""
        variables = _AT_ONCE if case.way is Way.EACH else {}
        worker = self._stack.start_worker(ROLES=case.roles, REDIS_TELEMETRY_STREAM=stream, **variables)
        await worker.wait_ready()
        try:
            return await self._with(worker, case, stream)
        finally:
            # They leave first: a worker that stops waits for its clients.
            await self._connect(worker, case.way, 0)
            await self._stack.stop_worker(worker)

    async def _with(self, worker: WorkerProcess, case: _Case, stream: str) -> Crowd | None:
        process = psutil.Process(worker.pid)
        # The first ones only warm the worker up, by as much as it does at once, and show what it grants.
        granted = await self._connect(worker, case.way, min(case.spectators, _WARM_UP_SPECTATORS))
        if case.spectators and (granted.batch, granted.deflate) != (case.way.asks_batch, case.way.offers_deflate):
            return None
        await self._connect(worker, case.way, 0)
        before_kb = rss_kb(process)
        async with Waits(worker) as connecting:
            await self._connect(worker, case.way, case.spectators)
        held_kb = (rss_kb(process) - before_kb) / case.spectators if case.spectators else 0.0
        # Not while the cost is measured: asking costs something too.
        async with Waits(worker) as racing:
            await self._drive(stream, _WARM_UP_ROUNDS, case)
        begun_s, used_s = time.perf_counter(), cpu_s(process)
        driven, watched = await self._drive(stream, round(self._seconds * HZ), case)
        lasted_s, used_s = time.perf_counter() - begun_s, cpu_s(process) - used_s
        taken = await self._compare(driven) if watched.delivered else Taken(0, 0, 0)
        us_per_send = await self._send(case.spectators, watched) if watched.reads else 0.0
        return Crowd(
            roles=case.roles,
            way=case.way,
            spectators=case.spectators,
            records=len(driven.sent_us),
            expected=len(driven.sent_us) * case.spectators,
            delivered=watched.delivered,
            conflated=await live_frames(worker, "conflated") if "live" in case.roles else 0,
            lost=watched.lost,
            taken=taken,
            durable=await self._durable(driven) if "write" in case.roles else None,
            cost=Cost.of(used_s, lasted_s, watched, us_per_send),
            kb_per_connection=round(held_kb, 1),
            connecting_wait_ms=round(connecting.longest_ms, 1),
            racing_wait_ms=round(racing.longest_ms, 1),
            client_cpu=round(watched.client_cpu_s / lasted_s, 3),
        )

    async def _connect(self, worker: WorkerProcess, way: Way, number: int) -> Connected:
        order = Connect(worker.live_port, TOPIC, number, batch=way.asks_batch, deflate=way.offers_deflate)
        return await self._spectators.ask(order, Connected)

    async def _drive(self, stream: str, rounds: int, case: _Case) -> tuple[Driven, Watched]:
        """Let every tracker send so often while the spectators watch."""
        drive = Drive(self._stack.valkey.url, stream, DEVICES, HZ, rounds)
        watch = Watch(DEVICES * rounds if case.spectators else 0)
        return await asyncio.gather(self._trackers.ask(drive, Driven), self._spectators.ask(watch, Watched))

    async def _compare(self, driven: Driven) -> Taken:
        return await self._spectators.ask(Compare(driven.first_ts_ms, driven.begun_ns, driven.sent_us), Taken)

    async def _send(self, sockets: int, watched: Watched) -> float:
        """Return what a bare loop takes to send as many bytes as the worker, to as many sockets, in us for each."""
        order = Send(sockets, round(watched.wire_bytes / watched.reads))
        return (await self._sends.ask(order, Sent)).cpu_us_per_send

    async def _durable(self, driven: Driven) -> Durable:
        """Return how long the records took until they were committed, when all are."""
        database = await asyncpg.connect(self._stack.postgres.url)
        deadline = time.monotonic() + _STORED_TIMEOUT_S
        first, number = driven.first_ts_ms, len(driven.sent_us)
        try:
            while len(rows := await database.fetch(_COMMITTED, first, first + number)) < number:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"stored {len(rows)} of {number} records")
                await asyncio.sleep(_POLL_S)
        finally:
            await database.close()
        begun_ms = driven.begun_wall_ns / 1e6
        return Durable.of(
            [committed_ms - begun_ms - driven.sent_us[ts_ms - first] / 1000 for ts_ms, committed_ms in rows]
        )


_COMMITTED: Final = """
SELECT round(extract(epoch FROM ts) * 1000)::bigint, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 * 1000
FROM positions WHERE ts >= to_timestamp($1::float8 / 1000) AND ts < to_timestamp($2::float8 / 1000)
"""
