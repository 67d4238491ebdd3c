"""The demo as a newcomer runs it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession

from tests.app.cli.test_stopping import BACKGROUND
from tests.support.waiting import eventually

DEMO = [sys.executable, "-m", "telemetry_app", "demo"]
#: Starts a command as a terminal does, where Ctrl-C counts, also if these tests are a job that ignores it.
FOREGROUND = (
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])",
)


def left_in(folder: Path) -> list[str]:
    """Return the processes that run in a folder, and the files in it."""
    processes = psutil.process_iter(["cwd", "cmdline"])
    inside = [process for process in processes if (process.info["cwd"] or "").startswith(str(folder))]
    commands = [" ".join(process.info["cmdline"] or []) for process in inside]
    return commands + [str(path) for path in folder.rglob("*") if path.is_file()]


async def race_began_ms(output: str) -> float:
    """Return the time of the first position of a running demo."""
    address = re.search(r"live map: (\S+)/#event=(\d+)", output)
    assert address is not None
    async with ClientSession(address[1]) as http:

        async def first_ms() -> float | None:
            async with http.get("/live/history/extent", params={"event": address[2]}) as answer:
                found: float | None = (await answer.json())["from"]
            return found

        return await eventually(first_ms, timeout_s=30, message="a position is stored") or 0


def worker_began_ms(output: str) -> float:
    """Return the time of the first line of the log of a running demo's worker."""
    log = re.search(r"log: (\S+)", output)
    assert log is not None
    first: dict[str, str] = json.loads(Path(log[1]).read_text().splitlines()[0])
    return datetime.fromisoformat(first["timestamp"]).timestamp() * 1000


@pytest.mark.timeout(180)
def test_demo_accounts_for_every_record(tmp_path: Path) -> None:
    """With --for it ends by itself, its report adds up, and nothing else is left; a shell's settings change nothing."""
    settings = {"REDIS_TELEMETRY_STREAM": "other", "REDIS_CONSUMER_GROUP": "other", "ROLES": "live", "REDIS_URL": "x"}
    run = subprocess.run(
        [*DEMO, "--for", "5", "--devices", "40", "--hz", "2", "--report", "report.json"],
        cwd=tmp_path, env={**os.environ, **settings}, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["published"] == report["stored"] + report["duplicates"] + report["refused"]
    assert report["stored"] > 300
    assert report["refused"] > 0
    assert 0 < report["frames_delivered"] <= report["stored"]
    for side in ("stored", "delivered"):
        assert 0 < report["latency_ms"][side]["p50"] <= report["latency_ms"][side]["p99"]
    assert left_in(tmp_path) == [str(tmp_path / "report.json")]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param([*FOREGROUND, *DEMO], lambda pid: os.killpg(pid, signal.SIGINT), id="ctrl-c"),
        # As a job that a script started with `&`, which ignores SIGINT.
        pytest.param([*BACKGROUND, *DEMO], lambda pid: os.kill(pid, signal.SIGTERM), id="sigterm"),
    ],
)
def test_interrupted_demo_leaves_nothing(tmp_path: Path, start: Sequence[str], end: Callable[[int], None]) -> None:
    """Ctrl-C in its terminal and SIGTERM to it alone end the demo in order: status 0, no process and no file.

    The race began with the servers there, and not before: its positions are as young as those of real trackers.
    """
    with subprocess.Popen(
        start, cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        try:
            seen = ""
            while "published=" not in seen:
                line = demo.stdout.readline()
                assert line, f"the demo ended early: {seen}"
                seen += line
            assert asyncio.run(race_began_ms(seen)) > worker_began_ms(seen) - 1000
            end(demo.pid)
            rest, _ = demo.communicate(timeout=90)
        finally:
            demo.kill()
    assert "live map: http://127.0.0.1:" in seen
    assert re.search(r"commands: REDIS_URL=redis://127\.0\.0\.1:\d+\S* POSTGRES_URL=postgresql://\S+ telemetry ", seen)
    assert (demo.returncode, rest.splitlines()[-1]) == (0, "stopped")
    asyncio.run(eventually(lambda: left_in(tmp_path) == [], message="no process and no file is left"))


def test_report_needs_a_folder(tmp_path: Path) -> None:
    """A report that could not be written is refused before anything is started."""
    run = subprocess.run(
        [*DEMO, "--for", "1", "--report", "nowhere/r.json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (run.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "there is no folder nowhere" in run.stderr


def test_report_needs_an_end() -> None:
    """Without --for there is no end at which a report could be written."""
    run = subprocess.run([*DEMO, "--report", "r.json"], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 2
    assert "--report needs --for" in run.stderr
