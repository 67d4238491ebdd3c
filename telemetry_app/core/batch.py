"""From a batch of stream entries to a batch of positions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from telemetry_app.records.decoding import decode_entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_app.records.codec import CodecError
    from telemetry_app.records.position import Position

logger = logging.getLogger(__name__)

#: More refusals of one batch than these are only counted in the log: a broken producer must not flood it.
_LOGGED_REFUSALS = 10


class DecodedBatch:
    """Positions of one batch on their way to the database, and the way to acknowledge or give up the batch.

    Attributes:
        positions: In stream order.
        entry_ids: The stream entry of each position.
        refused: Number of entries of the batch that could not be decoded; they stay pending.
    """

    __slots__ = ("_event", "batch", "entry_ids", "positions", "refused")

    def __init__(
        self, positions: Sequence[Position], entry_ids: Sequence[bytes], refused: int, batch: Any, event: Any
    ) -> None:
        self.positions = positions
        self.entry_ids = entry_ids
        self.refused = refused
        self.batch = batch
        self._event = event

    def bury(self, index: int, kind: str, reason: str) -> None:
        """Send the entry of a position to the dead letters when the batch is committed."""
        self.batch.bury(self.entry_ids[index], kind, reason)

    def acknowledge(self) -> None:
        """Allow the batch to be committed."""
        self._event.ack()

    def give_up(self) -> None:
        """Leave the batch pending, because the worker is stopping."""
        give_up = getattr(self._event.message, "give_up", None)
        if give_up is not None:
            give_up(self._event.app.consumer)


def decode_batch(batch: Any, event: Any) -> DecodedBatch:
    """Decode every entry; one that cannot be read is marked refused in the batch, its neighbours go through.

    Args:
        batch: Iterable of entries with `refuse(entry_id, kind, reason)` and `redelivered`.
        event: The Faust event that carried it.
    """
    decoded = decode_entries(batch)
    for entry_id, error in decoded.refused:
        batch.refuse(entry_id, "decode", str(error))
    if decoded.refused and not batch.redelivered:
        _log_refusals(batch.stream, decoded.refused)
    return DecodedBatch(decoded.positions, decoded.entry_ids, len(decoded.refused), batch, event)


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
