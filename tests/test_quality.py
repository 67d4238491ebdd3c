"""Types, style and boundaries are tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_LINES = 400


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "-m", "mypy"], id="mypy"),
        pytest.param([sys.executable, "-m", "ruff", "check"], id="ruff-check"),
        pytest.param([sys.executable, "-m", "ruff", "format", "--check"], id="ruff-format"),
        pytest.param([str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], id="import-linter"),
    ],
)
def test_the_tree_passes(command: list[str]) -> None:
    """The tool finds nothing."""
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_module_outgrows_its_idea() -> None:
    """No Python file has more than 400 lines."""
    folders = ("telemetry_app", "faust_redis", "agents", "tables", "migrations", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}
