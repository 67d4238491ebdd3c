"""Which Pythons are supported: said alike everywhere, and refused in one sentence where another is used."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
METADATA: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Python itself, which takes itself for another version.
PRETENDER = """#!{python}
import sys
version = {version!r}
sys.version, sys.version_info = version, tuple(map(int, version.split(".")))
exec(sys.argv[sys.argv.index("-c") + 1])
"""


def supported() -> list[str]:
    """Return the minor versions that `requires-python` allows."""
    bounds = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", METADATA["requires-python"])
    assert bounds is not None
    return [f"3.{minor}" for minor in range(int(bounds[1]), int(bounds[2]))]


def make(tmp_path: Path, python: str | Path, *goals: str) -> subprocess.CompletedProcess[str]:
    """Run `make` with this Python in an empty folder, showing what it would do."""
    command = ["make", "--dry-run", f"--file={ROOT / 'Makefile'}", f"PYTHON={python}", *goals]
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    # Not as part of the `make` that runs the tests, whose options it would take over and whose folders it would name.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    return subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)


def pretend(tmp_path: Path, version: str) -> Path:
    python = tmp_path / "python"
    python.write_text(PRETENDER.format(python=sys.executable, version=version))
    python.chmod(0o755)
    return python


def test_the_same_versions_are_named_everywhere() -> None:
    """Package, README, Makefile and CI name the same first and last version."""
    versions = supported()
    said = f"Python {versions[0]} to {versions[-1]}"
    for path in ("README.md", "faust_redis/README.md", "Makefile"):
        assert set(re.findall(r"Python 3\.\d+ to 3\.\d+", (ROOT / path).read_text())) == {said}, path
    prefix = "Programming Language :: Python :: 3."
    assert [f"3.{c.removeprefix(prefix)}" for c in METADATA["classifiers"] if c.startswith(prefix)] == versions
    workflow = yaml.safe_load((ROOT / ".gitea/workflows/build.yml").read_text())
    tested = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert (tested[0], tested[-1]) == (versions[0], versions[-1])
    assert set(tested) <= set(versions)


@pytest.mark.parametrize("version", ["2.7.18", "3.8.18", "3.10.13", "3.15.0"])
@pytest.mark.parametrize("goals", [(), ("test",), ("chaos",)])
def test_make_refuses_another_python(tmp_path: Path, version: str, goals: tuple[str, ...]) -> None:
    """One sentence names what it is, what it must be, and how to choose another; nothing is begun."""
    python = pretend(tmp_path, version)
    done = make(tmp_path, python, *goals)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    example = f"make PYTHON=python3.13 {''.join(goals) or 'demo'}"
    assert f"{python} is Python {version}, but must be Python 3.11 to 3.14: name another as in {example}." in line


def test_make_refuses_what_is_no_python(tmp_path: Path) -> None:
    """A name that is no command is told in the same sentence."""
    done = make(tmp_path, "python3.99")
    assert done.returncode == 2
    assert "python3.99 is no command, but must be Python 3.11 to 3.14" in done.stderr


@pytest.mark.parametrize("version", ["3.11.0", "3.12.9", "3.14.10"])
def test_make_takes_supported_pythons(tmp_path: Path, version: str) -> None:
    """The environment is made with the Python that was named."""
    python = pretend(tmp_path, version)
    done = make(tmp_path, python, "test")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{python} -m venv" in done.stdout
