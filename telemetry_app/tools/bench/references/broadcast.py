"""The broadcast as one would write it first: each position to each subscriber, one `send_str` each.

The same decoding, the same frames, the same reader of the stream and the same web server; only the loop differs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from typing import TYPE_CHECKING, Final

import mode.loop
from aiohttp import WSMsgType, web

from faust_redis.broadcast.reader import BroadcastReader
from faust_redis.options import RedisOptions
from faust_redis.redis.replies import EntryId
from telemetry_app.live.wire.position import LivePosition
from telemetry_app.live.wire.protocol import position_body, position_head, subscribed
from telemetry_app.records.decoding import decode_entries

if TYPE_CHECKING:
    from faust_redis.stream.batch import RecordBatch

_BATCH_SIZE: Final = 1000
_BLOCK_MS: Final = 100


class Broadcast:
    """Everyone gets everything.

    Args:
        topic: What the frames say.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._head = position_head(topic).decode()
        self._subscribers: set[web.WebSocketResponse] = set()

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """Subscribe a client when it asks for something, whatever it is."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(subscribed(self._topic, (), "0-0").decode())
                self._subscribers.add(socket)
        self._subscribers.discard(socket)
        return socket

    async def deliver(self, batch: RecordBatch) -> None:
        """Send a batch."""
        decoded = decode_entries(batch)
        for position, entry_id in zip(decoded.positions, decoded.entry_ids, strict=True):
            live = LivePosition.from_position(position, EntryId.parse(entry_id).ms)
            frame = self._head + position_body(live, entry_id.decode()).decode()
            for socket in list(self._subscribers):
                await socket.send_str(frame)


async def _serve(redis_url: str, stream: str, topic: str, port: int) -> None:
    broadcast = Broadcast(topic)
    app = web.Application()
    app.router.add_get("/live", broadcast.connect)
    runner = web.AppRunner(app)
    await runner.setup()
    reader = BroadcastReader(
        redis_url,
        topic=stream,
        partitions=1,
        group_prefix="bench-",
        put=broadcast.deliver,
        options=RedisOptions(instance_id="reference", batch_size=_BATCH_SIZE, block_ms=_BLOCK_MS),
    )
    await reader.start()
    await reader.start_vector()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if importlib.util.find_spec("uvloop"):
        mode.loop.use("uvloop")
    asyncio.run(_serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
