"""The product as an operator installs it: the wheel without extras, in an environment outside the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.app.live.conftest import directus, real_directus, stand_in
from tests.conftest import PROJECT, WorkerFactory
from tests.worker.conftest import Pipeline, pipeline

__all__ = ["directus", "pipeline", "real_directus", "stand_in"]

StartInstalled = Callable[..., WorkerProcess]


@dataclass(frozen=True)
class Installation:
    """An environment with the product in it, and a folder to run it from.

    Attributes:
        programs: Folder of the environment's programs.
        folder: Empty, and no part of the checkout.
    """

    programs: Path
    folder: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs to its end."""
        argv = [str(self.programs / command[0]), *command[1:]]
        env = {"PATH": os.environ["PATH"], **variables}
        return subprocess.run(argv, cwd=self.folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Build the wheel of what the Dockerfile copies, and install it with the pinned versions and no extra."""
    home = tmp_path_factory.mktemp("installation")
    (home / "source").mkdir()
    (home / "elsewhere").mkdir()
    for name in _copied():
        of_checkout = PROJECT / name
        if of_checkout.is_dir():
            shutil.copytree(of_checkout, home / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(of_checkout, home / "source")
    _pip("wheel", "--no-deps", "--wheel-dir", home / "wheels", home / "source")
    [wheel] = (home / "wheels").iterdir()
    # The tests' own pip installs into it: another would take as long to set up as all the rest.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "environment"], check=True)
    programs = home / "environment" / "bin"
    constraints = PROJECT / "constraints.txt"
    _pip("--python", programs / "python", "install", "--no-compile", "--constraint", constraints, wheel)
    return Installation(programs, home / "elsewhere")


@pytest.fixture
def start_installed(installation: Installation, pipeline: Pipeline, worker_process: WorkerFactory) -> StartInstalled:
    """Give a function that starts a worker of the installation; keyword arguments are further variables."""

    def start(program: str, *arguments: str, **variables: str) -> WorkerProcess:
        command: Sequence[str] = (str(installation.programs / program), *arguments)
        # A log without warnings is expected, on a busy machine too.
        env = {**pipeline.env, "PYTHONPATH": "", "LEASE_TTL_MS": "60000", **variables}
        return worker_process(env, command, cwd=installation.folder)

    return start


def _copied() -> list[str]:
    """Return the names that the Dockerfile copies out of the checkout."""
    lines = re.findall(r"^COPY (?!--)(.+) \S+$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    return [name for line in lines for name in line.split()]


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, arguments)]
    # What it finds on PYTHONPATH counts as installed.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
