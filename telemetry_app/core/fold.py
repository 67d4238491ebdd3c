"""A computation over the stream: a pure function, and the table that holds its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from faust_redis.redis.replies import EntryId

if TYPE_CHECKING:
    from telemetry_app.core.batch import DecodedBatch
    from telemetry_app.records.position import Position

    #: Given what the table holds, a batch's positions in stream order, and the id of the batch's first entry, returns
    #: what changes. Values are encoded as the table stores them.
    Compute = Callable[[Mapping[str, bytes], Sequence[Position], EntryId], dict[str, bytes]]


class FoldTable(Protocol):
    """A table of the partition whose batch is being processed."""

    def encoded(self) -> Mapping[str, bytes]:
        """Return the keys and encoded values; they are not to be changed."""

    def update_encoded(self, changes: dict[str, bytes]) -> None:
        """Set many keys; the dictionary is the table's from then on."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One computation.

    Its changes are written by the commit that acknowledges the batch, so each record counts exactly once, whatever
    crashes in between.

    Attributes:
        table: Holds the results.
        compute: Returns the changes that a batch makes.
    """

    table: FoldTable
    compute: Compute


def advance(folds: Iterable[Fold], decoded: DecodedBatch) -> None:
    """Let every computation see a batch; only while the agent that took the batch processes it."""
    if not decoded.positions:
        return
    first_id = EntryId.parse(decoded.batch.entries[0][0])
    for fold in folds:
        fold.table.update_encoded(fold.compute(fold.table.encoded(), decoded.positions, first_id))
