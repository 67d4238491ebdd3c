"""Every record to everyone who watches, beside the durable side."""

import faust

from faust_redis import RecordBatch
from telemetry_app.app import app, broadcast_batches, live_side


@app.agent(broadcast_batches)
async def broadcast(batches: faust.StreamT[RecordBatch]) -> None:
    """Send each batch to everyone who watches."""
    async for batch in batches:
        await live_side.live.deliver(batch)
