"""Running benchmarks as commands."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "telemetry_app", "bench", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )


def result_of(folder: Path, *arguments: str) -> Any:
    done = bench(folder, *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert list((folder / ".data").iterdir()) == [], "the servers' data is removed"
    return json.loads(done.stdout)
