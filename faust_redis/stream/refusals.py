"""How many of a partition's last records were refused."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from faust_redis.stream.batch import RecordBatch

#: So many records are looked back on.
WINDOW: Final = 1000


class Refusals:
    """Counts the refused ones, buried ones included, among the last records that were delivered for the first time.

    What is delivered again was refused before, and would count the same record several times.
    """

    def __init__(self) -> None:
        self._records = 0
        self._refused: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._refused)

    def count(self, batch: RecordBatch) -> None:
        """Count a batch whose verdicts are known; in the order of delivery."""
        if batch.redelivered:
            return
        verdicts = batch.refused.keys() | batch.buried.keys()
        if verdicts:
            numbered = enumerate(batch.entries, self._records)
            self._refused += (number for number, (entry_id, _) in numbered if entry_id in verdicts)
        self._records += len(batch.entries)
        while self._refused and self._refused[0] < self._records - WINDOW:
            self._refused.popleft()

    def clear(self) -> None:
        """Forget all of them."""
        self._refused.clear()
