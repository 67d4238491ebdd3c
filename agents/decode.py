"""Batch in, device state folded, decoded batch out."""

from typing import cast

import faust

from faust_redis.redis.replies import EntryId
from faust_redis.stream.batch import RecordBatch
from tables.device_state import device_state
from telemetry_app.app import app, decoded_batches, operations, telemetry_topic
from telemetry_app.core.batch import decode_batch
from telemetry_app.core.device_state import fold


@app.agent(telemetry_topic)
async def decode(batches: faust.StreamT[RecordBatch]) -> None:
    """Decode each batch, note refused entries, advance the devices' states, and pass the positions on.

    The batch is not acknowledged here (`noack`): the writer does that when its positions are stored. Passing on waits
    while the writer is behind, which in turn stops the reading.
    """
    async for batch in cast("faust.Stream[RecordBatch]", batches).noack():
        decoded = decode_batch(batch)
        operations.metrics.decode_errors.inc(decoded.refused)
        if decoded.positions:
            first_id, _ = batch.entries[0]
            changes = fold(device_state.encoded(), decoded.positions, EntryId.parse(first_id))
            device_state.update_encoded(changes)
        await decoded_batches.put(decoded)
