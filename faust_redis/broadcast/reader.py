"""Reading every record in every process: a private group for each instance, on all streams of a topic."""

from __future__ import annotations

import asyncio
import logging
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from mode import Service
from redis.exceptions import ResponseError

from faust_redis.broadcast.groups import remove_groups
from faust_redis.broadcast.replay import stream_tips
from faust_redis.group.members import Members
from faust_redis.redis import keys
from faust_redis.redis.address import LEAST_CONNECTIONS
from faust_redis.redis.client import (
    Client,
    close,
    connect,
    drop_connections,
    execute,
    is_cluster,
)
from faust_redis.redis.errors import ANY_REDIS_ERROR, ReplyTooLarge, is_busy_group, is_no_group, severity
from faust_redis.redis.nodes import ask_nodes
from faust_redis.redis.replies import Entry, EntryId, facts, streams as streams_of, text
from faust_redis.redis.retry import Backoff, pause
from faust_redis.redis.wire import DirectConnection
from faust_redis.stream.batch import RecordBatch
from faust_redis.stream.sizing import ReadSize

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from faust_redis.options import RedisOptions

logger = logging.getLogger(__name__)

#: Longer blocks would look like a dead connection and delay shutdown.
_LONGEST_BLOCK_MS: Final = 1000
#: So many reads may wait at the nodes of a cluster, each on a connection: as many as the smallest pool can spare.
_MOST_WAITING: Final = LEAST_CONNECTIONS // 2
#: Pause between two looks at the streams of a cluster when there are more, or at whether reading is allowed.
_POLL_S: Final = 0.02
#: An instance that was silent for longer is gone.
SILENCE_MS: Final = 60_000
_HEARTBEATS_PER_SILENCE: Final = 6
#: How long a stopping process tries to remove its group.
_SHUTDOWN_TIMEOUT_S: Final = 1.0


class BroadcastReader(Service):
    """Reads a topic beside its consumer group: no lease, no rebalance and no commit ever stops or delays it.

    It begins at the end of each stream. Entries count as acknowledged when they are read (NOACK). What was lost with a
    connection is read again: the reader knows how far it has come, and sets its group back to there.

    Args:
        url: Redis, with connections of its own.
        topic: Name of the topic.
        partitions: Number of its streams.
        group_prefix: The group is this and the instance id. Groups with this prefix whose instance is gone are removed.
        put: Takes one batch for each read of a stream, more where entries are large; reading goes on when it returns.
        options: Name of this process, size of a batch, how long a read waits (a second at most), and whom to tell.
        may_read: Whether the group is this process's, which it is for as long as its name is.
    """

    logger = logger

    def __init__(
        self,
        url: str,
        *,
        topic: str,
        partitions: int,
        group_prefix: str,
        put: Callable[[RecordBatch], Awaitable[None]],
        options: RedisOptions,
        may_read: Callable[[], bool] = lambda: True,
        **kwargs: Any,
    ) -> None:
        self._url = url
        self._topic = topic
        self._group_prefix = group_prefix
        self._group = f"{group_prefix}{options.instance_id}"
        self._put = put
        self._options = options
        self._may_read = may_read
        self._size = ReadSize(options.batch_size, options.batch_bytes)
        self._block_ms = min(options.block_ms, _LONGEST_BLOCK_MS)
        self._client: Client | None = None
        self._reads: DirectConnection | None = None
        self._backoff = Backoff()
        self._positioned = False
        self.streams: Sequence[str] = [keys.partition_stream(topic, n, partitions) for n in range(partitions)]
        self.reached: dict[str, EntryId] = {}
        self._start: dict[str, EntryId] = {}
        self.caught_up_at = float("-inf")
        self._rest_until = float("-inf")
        self._rest_changed = asyncio.Event()
        self._behind = False
        self.begun = asyncio.Event()
        self._failure: str | None = "the broadcast has not begun"
        super().__init__(**kwargs)

    @property
    def client(self) -> Client:
        """The client, made when it is first needed: it belongs to the event loop that uses it."""
        if self._client is None:
            self._client = connect(self._url, bounded=True)
        return self._client

    @property
    def reads(self) -> DirectConnection:
        """What reads go through."""
        if self._reads is None:
            self._reads = DirectConnection(self.client)
        return self._reads

    async def why_not_ready(self) -> str | None:
        """Return None while the broadcast is read, else what is wrong."""
        return self._failure

    async def start_vector(self) -> tuple[EntryId, ...]:
        """Wait until the groups stand, then return where reading begins in each stream."""
        await self.begun.wait()
        return tuple(self._start[stream] for stream in self.streams)

    def rest(self, for_s: float) -> None:
        """Let records gather for so long from now before they are read, unless many wait.

        Whoever takes the batches decides. A rest without an end (`inf`) lasts until it is given one.
        """
        self._rest_until = asyncio.get_running_loop().time() + for_s
        self._rest_changed.set()

    @Service.task
    async def _read(self) -> None:
        while not self.should_stop:
            await self._rest()
            if not self._may_read():
                self._failure = "the broadcast is not read: another process may have this one's name"
                await self.sleep(_POLL_S)
                continue
            try:
                await self._read_once()
            except ANY_REDIS_ERROR as error:
                await self._after_failure(error)
            else:
                self._backoff.reset()
                self._failure = None

    async def _rest(self) -> None:
        """Let records gather for as long as is wished; what waits already need not."""
        await asyncio.sleep(0)
        while not self._behind and (left_s := self._rest_until - asyncio.get_running_loop().time()) > 0:
            if isfinite(left_s):
                await asyncio.sleep(left_s)
            else:
                self._rest_changed.clear()
                await self._rest_changed.wait()

    async def _read_once(self) -> None:
        if not self._positioned:
            await self._position_groups()
        streams = self._size.together(self.streams)
        asked = self._size.count(len(streams))
        begun_at = asyncio.get_running_loop().time()
        try:
            reply = await self._read_streams(streams, asked)
        except ReplyTooLarge:
            if asked > 1 or len(streams) > 1:
                raise
            await self._pass_over(streams[0])
            return
        except ResponseError as error:
            if not is_no_group(error):
                raise
            logger.warning("group %s is gone: somebody removed it, or Redis was emptied or replaced", self._group)
            self._positioned = False
            return
        whole = self._size.fits(self.reads.reply_bytes, sum(len(entries) for _, entries in reply))
        for stream, entries in reply:
            for piece in (entries,) if whole else self._size.pieces(entries):
                self.reached[stream] = EntryId.parse(piece[-1][0])
                await self._put(RecordBatch(stream, piece))
                # Let the receiver run first: asking for the next batch takes as long as delivering a small one.
                await asyncio.sleep(0)
        if len(streams) == len(self.streams) and all(len(entries) < asked for _, entries in reply):
            self.caught_up_at = begun_at
            self._behind = False
        else:
            self._behind = True

    async def _read_streams(self, streams: Sequence[str], count: int) -> list[tuple[str, list[Entry]]]:
        """Read all streams at once; in a cluster each by itself, since slots differ."""
        if not is_cluster(self.client):
            replies = [await self._read_group(streams, count)]
        elif len(streams) <= _MOST_WAITING:
            replies = await asyncio.gather(*(self._read_group([stream], count) for stream in streams))
        else:
            replies = await self._poll_groups(streams, count)
        return [(stream.decode(), entries) for reply in replies for stream, entries in streams_of(reply) if entries]

    async def _read_group(self, streams: Sequence[str], count: int) -> Any:
        return await self.reads.execute(*self._command(streams, count, "BLOCK", self._block_ms))

    async def _poll_groups(self, streams: Sequence[str], count: int) -> list[Any]:
        """Read all streams without waiting at the servers, which would take a connection for each."""
        found = await ask_nodes(self.client, {stream: self._command([stream], count) for stream in streams})
        replies = list(found.values())
        for error in (reply for reply in replies if isinstance(reply, Exception)):
            raise error
        if not any(replies):
            await asyncio.sleep(_POLL_S)
        return replies

    def _command(self, streams: Sequence[str], count: int, *waiting: Any) -> tuple[Any, ...]:
        return (
            "XREADGROUP", "GROUP", self._group, self._options.instance_id, "COUNT", count, *waiting, "NOACK",
            "STREAMS", *streams, *(">" for _ in streams),
        )  # fmt: skip

    async def _pass_over(self, stream: str) -> None:
        """Go on behind an entry that is too large to be read, which the group has behind it already."""
        groups = map(facts, await execute(self.client, "XINFO", "GROUPS", stream))
        last = next(group["last-delivered-id"] for group in groups if text(group["name"]) == self._group)
        self.reached[stream] = EntryId.parse(last)
        logger.error("broadcast: entry %s of %s is too large to be read and is passed over", text(last), stream)

    async def _position_groups(self) -> None:
        """Let every group begin behind the last entry handed over; at first, at the end of its stream."""
        for stream in self.streams:
            last = (await stream_tips(self.client, stream)).last
            start = self.reached.get(stream, last)
            if start > last:
                logger.warning("stream %s was created anew: continuing at its end", stream)
                start = last
            await self._set_group(stream, str(start))
            self.reached[stream] = start
        self._positioned = True
        if not self.begun.is_set():
            self._start = dict(self.reached)
            self.begun.set()
            logger.info("broadcasting %d streams of %s as group %s", len(self.streams), self._topic, self._group)

    async def _set_group(self, stream: str, start: str) -> None:
        try:
            await execute(self.client, "XGROUP", "CREATE", stream, self._group, start, "MKSTREAM")
        except ResponseError as error:
            if not is_busy_group(error):
                raise
            await execute(self.client, "XGROUP", "SETID", stream, self._group, start)

    async def _after_failure(self, error: BaseException) -> None:
        """Wait, then set the groups back to what was handed over: a reply may have been lost on the way."""
        self._positioned = False
        self._size.shrink(error)
        self._options.observer.retried("broadcast")
        self._failure = f"the broadcast does not read ({type(error).__name__}: {error})"
        delay_s = self._backoff.next_s()
        kind = type(error).__name__
        logger.log(severity(error), "broadcast: reading failed (%s: %s), next try in %.1f s", kind, error, delay_s)
        await drop_connections(self.client, error)
        await pause(delay_s, lambda: self.should_stop)

    @Service.task
    async def _remove_dead_groups(self) -> None:
        members = self._members()
        async for _ in self.itertimer(SILENCE_MS / 1000 / _HEARTBEATS_PER_SILENCE, name="broadcasters"):
            try:
                alive = await members.heartbeat()
                for stream in self.streams:
                    await remove_groups(
                        self.client, stream, prefix=self._group_prefix, alive=alive, silence_ms=SILENCE_MS
                    )
            except ANY_REDIS_ERROR as error:
                logger.debug("groups of dead instances not removed: %s", error)

    def _members(self) -> Members:
        key = keys.broadcasters(self._topic)
        return Members(self.client, key, instance_id=self._options.instance_id, silence_ms=SILENCE_MS)

    async def on_shutdown(self) -> None:
        """Remove the group and close the connections."""
        try:
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT_S):
                if self._may_read():
                    for stream in self.streams:
                        await execute(self.client, "XGROUP", "DESTROY", stream, self._group)
                    await self._members().leave()
        except ANY_REDIS_ERROR as error:
            logger.warning("group %s is left for others to remove: %s", self._group, error)
        await close(self.client)
