"""What one sees of the demo on a terminal: one table that changes; elsewhere a line now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from telemetry_app.tools.demo.figures import Figures

#: Lines for a log file come no faster than this.
_LINE_EVERY_S = 5.0


class Display:
    """Shows figures as they change."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._last: tuple[float, int] | None = None
        self._last_line_at = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, figures: Figures) -> None:
        """Show one reading."""
        cells = self._cells(figures)
        if self._live:
            self._live.update(_table(cells), refresh=True)
        elif time.monotonic() - self._last_line_at >= _LINE_EVERY_S:
            self._last_line_at = time.monotonic()
            self._console.print(
                "  ".join(f"{name}={value}" for name, value in cells.items()), highlight=False, soft_wrap=True
            )

    def _cells(self, figures: Figures) -> dict[str, str]:
        now = time.monotonic()
        rate = 0.0
        if self._last is not None and now > self._last[0]:
            rate = max(0.0, (figures.stored - self._last[1]) / (now - self._last[0]))
        self._last = (now, figures.stored)
        return {
            "published": f"{figures.published:,}",
            "stored": f"{figures.stored:,}",
            "duplicates": f"{figures.duplicates:,}",
            "refused": f"{figures.refused:,}",
            "lag": "unknown" if figures.lag is None else f"{figures.lag:,}",
            "state size": f"{figures.devices:,}",
            "records/s": f"{rate:,.0f}",
        }


def _table(cells: dict[str, str]) -> Table:
    table = Table(title="telemetry demo - Ctrl-C stops everything")
    for name in cells:
        table.add_column(name, justify="right", min_width=10)
    table.add_row(*cells.values())
    return table
