"""What a worker imports: what it runs, and nothing else of ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import WorkerFactory
from tests.worker.conftest import Pipeline
from tests.worker.spectators import TABLES

# Runs a program of the environment and writes down at its end what was imported.
PROGRAM: Final = """
import atexit, sys
from pathlib import Path
path = Path(sys.argv[1])
sys.argv[:2] = []
atexit.register(lambda: path.write_text("\\n".join(sys.modules)))
if sys.argv[0] == "faust":
    from faust.cli.faust import cli as main
else:
    from telemetry_app.cli import main
main()
"""
OURS: Final = ("agents", "faust_redis", "migrations", "tables", "telemetry_app")
COMMAND: Final = {"telemetry_app.cli", "telemetry_app.cli.commands", "telemetry_app.cli.commands.worker"}
TELEMETRY: Final = ("telemetry", "worker")
FAUST: Final = ("faust", "-A", "telemetry_app.app", "worker")
WRITE_SIDE: Final = {
    "agents.decode",
    "agents.writer",
    "tables",
    "telemetry_app.assembly.write_side",
    "telemetry_app.core",
}
LIVE_SIDE: Final = {"agents.broadcast", "telemetry_app.assembly.live_side", "telemetry_app.live"}


@pytest.mark.parametrize(
    ("roles", "runs", "rests"), [("write", WRITE_SIDE, LIVE_SIDE), ("live", LIVE_SIDE, WRITE_SIDE)]
)
@pytest.mark.parametrize(
    ("command", "of_the_command"),
    [pytest.param(TELEMETRY, COMMAND, id="telemetry"), pytest.param(FAUST, set(), id="faust")],
)
async def test_a_worker_imports_what_it_runs(
    pipeline: Pipeline,
    worker_process: WorkerFactory,
    tmp_path: Path,
    command: tuple[str, ...],
    of_the_command: set[str],
    roles: str,
    runs: set[str],
    rests: set[str],
) -> None:
    """Of the tools it imports nothing, of the commands its own, of a side that does not run nothing."""
    path = tmp_path / "imported"
    await pipeline.database.execute(TABLES)
    worker = worker_process(
        {**pipeline.env, "ROLES": roles, "LIVE_AUTH": "none"}, [sys.executable, "-c", PROGRAM, str(path), *command]
    )
    await worker.wait_ready()
    assert await worker.stop() == 0
    imported = {name for name in path.read_text().splitlines() if name.partition(".")[0] in OURS}
    assert runs <= imported
    assert {name for name in imported if _below(name, {"telemetry_app.cli"})} == of_the_command
    assert {name for name in imported if _below(name, {"telemetry_app.tools", *rests})} == set()


def _below(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
