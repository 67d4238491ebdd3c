"""Decoded batches to the databases, several at a time, each acknowledged when it is stored."""

import faust

from telemetry_app.app import app, decoded_batches, write_side
from telemetry_app.core.batch import DecodedBatch


@app.agent(decoded_batches)
async def writer(batches: faust.StreamT[DecodedBatch]) -> None:
    """Hand each batch to the write queue, which waits while as many as allowed are being written."""
    async for batch in batches:
        await write_side.queue.submit(batch)
