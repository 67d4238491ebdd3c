"""Faust's table manager without its fixed wait."""

from __future__ import annotations

from faust.tables import TableManager as FaustTableManager


class TableManager(FaustTableManager):
    """Faust's table manager, which registers the tables at once instead of after a whole second.

    The second is for agents that are still starting. None is: the manager starts after them, and an agent's topic is
    known as soon as it has started, even if it takes its first event much later.
    """

    async def on_start(self) -> None:
        """Register the tables and start their recovery."""
        await self._update_channels()
        await self.recovery.start()
