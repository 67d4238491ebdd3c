"""The image: what is in it, as whom it runs, and when it is called healthy."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from telemetry_app.operations.health import Readiness
from telemetry_app.operations.metrics import Metrics
from telemetry_app.operations.monitoring import MonitoringServer
from telemetry_app.tools.embedded.home import can_enter
from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.process import Account
from tests.conftest import PROJECT
from tests.deploy import dockerfile
from tests.worker.conftest import Pipeline, StartWorker, record, until_drained
from tests.worker.spectators import TABLES

BIN = Path(sys.executable).parent
#: Not in /etc/passwd, and in the group 0, as OpenShift does it.
STRANGER = Account(54321, 0)
DEAD_PROXIES = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


#: Of this machine; a container may have no IPv6.
LOOPBACK = ("127.0.0.1", "[::1]") if has_ipv6() else ("127.0.0.1",)


def health(env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the health check of the image as Docker does, in the container's environment."""
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT), **env}
    return subprocess.run(
        dockerfile.health_check(), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


EVERYWHERE_IPV4 = "0.0.0.0"  # noqa: S104 - as containers do


@pytest.fixture(params=[EVERYWHERE_IPV4, "127.0.0.1", "localhost", *(["::", "0::0", "::1"] if has_ipv6() else [])])
async def monitoring(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, MonitoringServer]]:
    """A worker's metrics and health on each kind of address, while the worker is not ready."""
    readiness = Readiness()

    async def why_not_ready() -> str | None:
        return "the database is away"

    readiness.add("postgres", why_not_ready)
    server = MonitoringServer(request.param, 0, Metrics(), readiness)
    async with server:
        yield request.param, server


async def test_healthy_wherever_the_metrics_are(monitoring: tuple[str, MonitoringServer], tmp_path: Path) -> None:
    """The check finds the worker on its METRICS_HOST and METRICS_PORT, past dead proxies, whatever is not ready."""
    host, server = monitoring
    env = {"METRICS_HOST": host, "METRICS_PORT": str(server.port), **DEAD_PROXIES}
    process = await asyncio.to_thread(health, env, tmp_path)
    assert (process.returncode, process.stdout, process.stderr) == (0, "ok\n", "")


async def test_healthy_by_the_file_of_settings(monitoring: tuple[str, MonitoringServer], tmp_path: Path) -> None:
    """Settings that stand in .env count for the check too."""
    host, server = monitoring
    (tmp_path / ".env").write_text(f"METRICS_HOST={host}\nMETRICS_PORT={server.port}\n")
    assert (await asyncio.to_thread(health, {}, tmp_path)).returncode == 0


def test_unhealthy_without_a_worker(tmp_path: Path) -> None:
    """A port that nobody listens on, and one that no worker listens on, are told in one sentence, with status 1."""
    port = str(free_port())
    process = health({"METRICS_PORT": port}, tmp_path)
    assert process.returncode == 1
    assert process.stderr.startswith(f"Error: No worker answers on METRICS_PORT={port}: ConnectionRefusedError")


async def test_unhealthy_when_another_server_answers(tmp_path: Path) -> None:
    """A server that is no worker is not taken for one."""
    app = web.Application()
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = str(runner.addresses[0][1])
    process = await asyncio.to_thread(health, {"METRICS_PORT": port}, tmp_path)
    await runner.cleanup()
    assert (process.returncode, process.stderr) == (1, f"Error: /healthz on METRICS_PORT={port} answers 404.\n")


def test_the_check_is_cheap() -> None:
    """It runs every few seconds in each container, and imports nothing heavy."""
    code = (
        "import sys\nfrom telemetry_app.cli import main\n"
        "try: main(['health'], standalone_mode=False)\nexcept Exception: pass\n"
        "print([name for name in ('aiohttp', 'pydantic', 'redis', 'asyncpg', 'faust') if name in sys.modules])"
    )
    env = {**os.environ, "METRICS_PORT": str(free_port())}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_every_address_of_both_families(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """`::` is listened on for IPv4 and IPv6 alike, by the metrics and by the live side."""
    await pipeline.database.execute(TABLES)
    everywhere = "::" if has_ipv6() else EVERYWHERE_IPV4
    worker = start_worker(ROLES="live", LIVE_AUTH="none", METRICS_HOST=everywhere, LIVE_HOST=everywhere)
    await worker.wait_ready()
    async with aiohttp.ClientSession() as http:
        for address in LOOPBACK:
            async with http.get(f"http://{address}:{worker.env['METRICS_PORT']}/healthz") as answer:
                assert answer.status == 200
            async with http.ws_connect(f"http://{address}:{worker.live_port}/live") as socket:
                await socket.send_json({"type": "unsubscribe", "topic": "event:1"})
                assert (await socket.receive_json())["type"] == "unsubscribed"
    assert await worker.stop() == 0


def as_stranger() -> list[str]:
    """Return what runs a command as a user without a name who may write nowhere; as root that can be had."""
    if os.geteuid() != 0:
        return ["env", "-C", "/"]
    prefix = ["env", "-C", "/", "setpriv", f"--reuid={STRANGER.uid}", f"--regid={STRANGER.gid}", "--clear-groups"]
    # A Python in root's home is out of a stranger's reach: let it read everything, still write nothing.
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    needed = (PROJECT, Path(sys.executable).resolve().parent, BIN)
    return prefix if all(can_enter(folder, STRANGER) for folder in needed) else [*prefix, *reading]


def temporary_files_of(uid: int) -> list[Path]:
    return [path for path in Path(tempfile.gettempdir()).iterdir() if path.lstat().st_uid == uid]


async def test_any_user_and_no_place_to_write(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """Records are stored by a worker of a uid without a name, which leaves no file anywhere."""
    variables = {name: value for name, value in dockerfile.variables().items() if name != "PATH"}
    command = (*as_stranger(), sys.executable, "-m", "telemetry_app", "worker")
    await pipeline.publish([record(device, 0) for device in range(20)])
    worker = start_worker(command=command, **variables)
    await worker.wait_ready()
    await until_drained(pipeline)
    assert await pipeline.stored() == 20
    if os.geteuid() == 0:
        assert await asyncio.to_thread(temporary_files_of, STRANGER.uid) == []
    assert await worker.stop() == 0


def test_the_user_is_a_number() -> None:
    """Kubernetes' runAsNonRoot needs a number to see that the image does not run as root."""
    users = [rest for name, rest in dockerfile.instructions() if name == "USER"]
    assert users[-1].isdecimal()
    assert int(users[-1]) > 0


def test_what_is_copied_is_there_and_let_in() -> None:
    """Each file that the image is built from exists, and .dockerignore lets it in and nothing else."""
    let_in = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert dockerfile.copied() == let_in
    assert [name for name in dockerfile.copied() if not (PROJECT / name).exists()] == []


def test_every_package_is_copied() -> None:
    """No package of the distribution is left out of the image."""
    configuration = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    packages = configuration["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.removesuffix("*") for name in packages} - dockerfile.copied() == set()


def test_hadolint() -> None:
    """Hadolint has nothing to say about the Dockerfile."""
    hadolint = shutil.which("hadolint", path=str(BIN))
    assert hadolint is not None
    done = subprocess.run([hadolint, "--no-color", dockerfile.PATH], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
