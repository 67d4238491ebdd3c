"""Batch in, folds advanced, decoded batch out."""

from typing import cast

import faust

from faust_redis import RecordBatch
from tables.folds import FOLDS
from telemetry_app.app import app, decoded_batches, settings, telemetry_topic, write_side
from telemetry_app.core.batch import decode_batch
from telemetry_app.core.fold import advance


@app.agent(telemetry_topic)
async def decode(batches: faust.StreamT[RecordBatch]) -> None:
    """Decode each batch, note refused entries, advance the folds, and pass the positions on.

    The batch is not acknowledged here (`noack`): the write queue settles it when its positions are stored. Passing on
    waits while the writer is behind, which in turn stops the reading.
    """
    async for batch in cast("faust.Stream[RecordBatch]", batches).noack():
        decoded = decode_batch(batch, write_side.observer, max_ahead_s=settings.quality_max_ahead_s)
        advance(FOLDS, decoded)
        await decoded_batches.put(decoded)
