"""Commands out of docs/operations.md, to be tried."""

from __future__ import annotations

import re

from tests.conftest import PROJECT


def blocks(heading: str, language: str) -> list[str]:
    """Return the code blocks of a language below a heading."""
    text = (PROJECT / "docs" / "operations.md").read_text()
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None, f"there is no heading {heading!r}"
    return re.findall(rf"^```{language}\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)


def block(heading: str, language: str, beginning: str) -> str:
    """Return the one block that begins so."""
    (found,) = [block for block in blocks(heading, language) if block.startswith(beginning)]
    return found
