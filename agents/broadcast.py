"""Every record to everyone who watches, beside the durable side."""

import faust

from faust_redis.stream.batch import RecordBatch
from telemetry_app.app import app, broadcast_batches, live_side
from telemetry_app.records.decoding import decode_entries


@app.agent(broadcast_batches)
async def broadcast(batches: faust.StreamT[RecordBatch]) -> None:
    """Decode each batch and send it; what cannot be decoded is the durable side's to report."""
    async for batch in batches:
        decoded = decode_entries(batch)
        last_id, _ = batch.entries[-1]
        await live_side.live.deliver(
            batch.stream, last_id, list(zip(decoded.positions, decoded.entry_ids, strict=True))
        )
