"""README's examples for producers choose the partition that workers expect."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import playwright
import pytest

from faust_redis.redis import keys

README = Path(__file__).parents[2] / "README.md"
#: The Node that the browser tests' driver comes with, so that nobody need install one.
NODE = Path(playwright.__file__).parent / "driver" / "node"
STREAM, PARTITIONS = "telemetry:teltonika", 8
DEVICES = ["356307042441013", "1", "", "Gerät 7", *(f"3563070424{number:05d}" for number in range(100))]


def example(language: str) -> str:
    text = README.read_text()
    section = re.search(r"^## Several workers\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    return str(block)


def by_python() -> list[str]:
    names: dict[str, Any] = {}
    exec(example("python"), names)  # noqa: S102 - it is our own
    return [names["stream_of"](STREAM, device, PARTITIONS) for device in DEVICES]


def by_node() -> list[str]:
    script = (
        f"{example('js')}\nconsole.log(JSON.stringify({json.dumps(DEVICES)}.map((id) => streamOf({STREAM!r}, id, 8))))"
    )
    answer = subprocess.run([NODE, "-e", script], capture_output=True, text=True, check=True)
    return list(json.loads(answer.stdout))


@pytest.mark.parametrize("choose", [by_python, by_node], ids=["python", "node"])
def test_the_examples_choose_as_workers_do(choose: Any) -> None:
    """Whichever device, also one whose id is not ASCII or empty."""
    expected = [
        keys.partition_stream(STREAM, keys.partition_of(device.encode(), PARTITIONS), PARTITIONS) for device in DEVICES
    ]
    assert choose() == expected
