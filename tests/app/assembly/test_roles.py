"""What importing the application does, and what of a side exists that does not run; each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT

#: Connections of the live side's own: for snapshots, and for past positions.
LIVE_POOLS = 2
#: Imports the application and its agents as a worker does, then tells what there is.
LOOK = """
import gc, json, sys
from telemetry_app.app import app
app.discover()
from telemetry_app.database.postgres import Postgres
pools = [one for one in gc.get_objects() if isinstance(one, Postgres)]
services = [type(one).__name__ for one in app.boot_strategy.server()]
print(json.dumps({"modules": sorted(sys.modules), "pools": len(pools), "services": services}))
"""
#: Imports the application and tells which files it read and which connections it made.
WATCH = """
import json, sys
said = []
def hook(event, args):
    if event == "open" and isinstance(args[0], str):
        said.append(["open", args[0]])
    elif event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "os.listdir", "os.scandir"):
        said.append([event, str(args[0])])
sys.addaudithook(hook)
import telemetry_app.app
print(json.dumps(said))
"""


def run(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script with these variables and no others of ours."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=folder, capture_output=True, text=True, check=False
    )


def look(folder: Path, **variables: str) -> dict[str, Any]:
    done = run(LOOK, folder, **variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def of(package: str, modules: list[str]) -> list[str]:
    return [name for name in modules if name == package or name.startswith(f"{package}.")]


def test_a_writing_worker_has_nothing_of_the_live_side(tmp_path: Path) -> None:
    """With `ROLES=write` no module of the live side is imported; there is one pool, no Directus and no live port."""
    found = look(tmp_path, ROLES="write", DIRECTUS_BASE_URL="http://127.0.0.1:1")
    assert of("telemetry_app.live", found["modules"]) == []
    assert of("agents", found["modules"]) == ["agents", "agents.decode", "agents.writer"]
    assert of("faust_redis.broadcast", found["modules"]) == []
    assert found["pools"] == 1
    assert found["services"][:5] == ["InstanceName", "MonitoringServer", "Postgres", "Migrator", "WriteQueue"]
    assert not {"Web", "LiveSide", "BroadcastReader"} & set(found["services"])


def test_a_live_worker_has_nothing_of_the_durable_side(tmp_path: Path) -> None:
    """With `ROLES=live` no module of the durable side is imported; no migrator and no consumer is there."""
    found = look(tmp_path, ROLES="live", LIVE_AUTH="none")
    assert of("telemetry_app.core", found["modules"]) == []
    assert of("telemetry_app.database.migrator", found["modules"]) == []
    assert of("tables", found["modules"]) == []
    assert of("agents", found["modules"]) == ["agents", "agents.broadcast"]
    assert found["pools"] == LIVE_POOLS
    first = ["InstanceName", "MonitoringServer", "Postgres", "Postgres", "CachedDeviceEvents", "LiveSide"]
    assert found["services"][:6] == first
    assert found["services"][-1] == "BroadcastReader"
    assert not {"Consumer", "WriteQueue"} & set(found["services"])


def test_a_worker_of_both_sides_starts_both_around_its_streams(tmp_path: Path) -> None:
    """The durable side starts first, and the broadcast is read last, when its agent listens."""
    found = look(tmp_path, ROLES="write,live", DIRECTUS_BASE_URL="http://127.0.0.1:1")
    services = found["services"]
    assert found["pools"] == 1 + LIVE_POOLS
    assert services[:10] == [
        "InstanceName", "MonitoringServer", "Postgres", "Migrator", "WriteQueue",
        "Postgres", "Postgres", "Directus", "CachedDeviceEvents", "LiveSide",
    ]  # fmt: skip
    assert services[-1] == "BroadcastReader"
    assert {"Consumer", "AgentManager"} < set(services[9:-1])


@pytest.mark.parametrize("roles", ["write", "live", "write,live"])
def test_importing_the_application_does_nothing(tmp_path: Path, roles: str) -> None:
    """No connection is made, no port taken, and of the project's files only Python's are read."""
    done = run(WATCH, tmp_path, ROLES=roles, LIVE_AUTH="none")
    assert done.returncode == 0, done.stderr
    said: list[tuple[str, str]] = json.loads(done.stdout)
    assert [event for event in said if event[0].startswith("socket.")] == []
    ours = {path for event, path in said if event == "open" and Path(path).is_relative_to(PROJECT)}
    # What the installation made here is no file of the project's.
    installed = {path for path in ours if Path(path).is_relative_to(sys.prefix) or ".egg-info" in path}
    assert {path for path in ours - installed if not path.endswith((".py", ".pyc"))} == set()
    listed = {path for event, path in said if event != "open" and path.endswith("static")}
    assert listed == set()


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"ROLES": "nix"}, "Error: ROLES is 'nix', but must be write, live or write,live.\n"),
        ({"BATCH_SIZE": "0"}, "Error: BATCH_SIZE is '0', but must be a whole number from 1 to 10000.\n"),
        ({"ROLES": "live"}, "Error: DIRECTUS_BASE_URL is unset, but the live side must have it as long as"),
        (
            {"LIVE_AUTH": "none", "LIVE_BASEMAP": "race.pmtiles"},
            "Error: LIVE_BASEMAP is 'race.pmtiles', but there is no such file.",
        ),
    ],
)
def test_a_bad_setting_is_one_sentence(tmp_path: Path, variables: dict[str, str], sentence: str) -> None:
    """Whoever imports the application is told the variable, the value and the bound, without a traceback."""
    done = run("import telemetry_app.app", tmp_path, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
