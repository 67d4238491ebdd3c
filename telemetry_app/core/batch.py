"""From a batch of stream entries to a batch of positions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from telemetry_app.records.decoding import decode_entries
from telemetry_app.records.quality import judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faust_redis.stream.batch import RecordBatch
    from telemetry_app.core.observer import WriteObserver
    from telemetry_app.records.codec import CodecError
    from telemetry_app.records.position import Position

logger = logging.getLogger(__name__)

#: More refusals of one batch than these are only counted in the log: a broken producer must not flood it.
_LOGGED_REFUSALS = 10


class DecodedBatch:
    """Positions of one batch on their way to the sinks, and the batch that is settled or given up when they are done.

    Attributes:
        positions: In stream order.
        entry_ids: The stream entry of each position.
        batch: Where they came from; settled or given up when the sinks are done.
    """

    __slots__ = ("batch", "entry_ids", "positions")

    def __init__(self, positions: Sequence[Position], entry_ids: Sequence[bytes], batch: RecordBatch) -> None:
        self.positions = positions
        self.entry_ids = entry_ids
        self.batch = batch

    def bury(self, index: int, kind: str, reason: str) -> None:
        """Send the entry of a position to the dead letters when the batch is committed; the first reason stays."""
        entry_id = self.entry_ids[index]
        if entry_id not in self.batch.buried:
            self.batch.bury(entry_id, kind, reason)


def decode_batch(batch: RecordBatch, observer: WriteObserver, *, max_ahead_s: int) -> DecodedBatch:
    """Decode every entry; one that cannot be read is marked refused in the batch, its neighbours go through.

    Args:
        batch: As it was delivered.
        observer: Told how many cannot be read.
        max_ahead_s: How far ahead of its append a position may be without being faulty.
    """
    decoded = decode_entries(batch)
    observer.undecodable(len(decoded.refused))
    for entry_id, error in decoded.refused:
        batch.refuse(entry_id, "decode", str(error))
    if decoded.refused and not batch.redelivered:
        _log_refusals(batch.stream, decoded.refused)
    return DecodedBatch(judged(decoded, max_ahead_s=max_ahead_s), decoded.entry_ids, batch)


def _log_refusals(stream: str, refused: list[tuple[bytes, CodecError]]) -> None:
    for entry_id, error in refused[:_LOGGED_REFUSALS]:
        logger.warning(
            "refused entry %s: %s",
            entry_id.decode(),
            error,
            extra={"stream": stream, "field": error.field},
        )
    if len(refused) > _LOGGED_REFUSALS:
        logger.warning(
            "refused %d more entries of the same batch", len(refused) - _LOGGED_REFUSALS, extra={"stream": stream}
        )
