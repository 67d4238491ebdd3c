"""Small Faust applications on the transport, and what they did."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from faust_redis.driver.app import App
from faust_redis.driver.channel import BatchSchema
from faust_redis.driver.consumer import Consumer
from faust_redis.options import RedisOptions
from tests.support.observed import TransportObserved

GROUP = "group"
TABLE = "counts"
#: Unless a test says otherwise no lease ends, and nothing is read again, because the machine is busy.
LONG_MS = 60_000

#: What an agent does with an event; the event is a `faust.EventT` whose value is a `RecordBatch`.
Handle = Callable[["TransportApp", Any], Awaitable[None]]


class TransportApp:
    """One application with one agent, which counts how often it saw each payload, and its table.

    Args:
        stream: Topic.
        url: Redis.
        partitions: Of the topic.
        handle: What the agent does with an event after counting it.
        noack: Whether acknowledging is left to `handle`.
        declare: Declares more than the one agent and its table.
        table_options: Of the table store.
        faust_settings: Further settings of the application.
        options: Of the transport; a lease lasts long unless they say otherwise.
    """

    def __init__(
        self,
        stream: str,
        url: str,
        *,
        partitions: int = 1,
        handle: Handle | None = None,
        noack: bool = False,
        declare: Callable[["TransportApp"], None] | None = None,
        table_options: dict[str, Any] | None = None,
        faust_settings: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.observer = TransportObserved()
        self.batches: list[Any] = []
        self.counted: list[str] = []
        self.offsets: list[int] = []
        self._handle = handle
        self.app = App(
            GROUP,
            broker=url,
            topic_partitions=partitions,
            redis_options=RedisOptions(observer=self.observer, **{"lease_ttl_ms": LONG_MS, **options}),
            web_enabled=False,
            **faust_settings or {},
        )
        self.topic = self.app.topic(stream, partitions=partitions, schema=BatchSchema())
        self.table = self.app.Table(TABLE, default=int, options=table_options)
        self.app.agent(self.topic)(self._noack_agent if noack else self._auto_agent)
        if declare is not None:
            declare(self)

    async def _auto_agent(self, stream: Any) -> None:
        async for event in stream.events():
            await self._process(event)

    async def _noack_agent(self, stream: Any) -> None:
        async for event in stream.noack().events():
            await self._process(event)

    async def _process(self, event: Any) -> None:
        batch = event.value
        self.batches.append(batch)
        self.offsets.append(event.message.offset)
        counts = Counter(fields[1].decode() for _, fields in batch)
        self.counted += counts.elements()
        self.table.update({name: self.table.get(name, 0) + count for name, count in counts.items()})
        if self._handle is not None:
            await self._handle(self, event)

    @property
    def consumer(self) -> Consumer:
        return cast("Consumer", self.app.consumer)

    @property
    def partitions(self) -> list[int]:
        """Numbers of the partitions held."""
        return sorted(tp.partition for tp in self.consumer.assignment())

    @property
    def counts(self) -> dict[str, int]:
        """The table in memory."""
        return {str(key): count for key, count in self.table.data.items()}

    @property
    def fetching(self) -> bool:
        """Whether records are taken."""
        held = self.consumer.holdings.values()
        return all(p.open for p in held) and bool(held) and self.consumer.flow_active and not self.app.rebalancing

    async def start(self) -> None:
        await self.app.start()

    async def stop(self) -> None:
        await self.app.stop()


def once_each(names: Iterable[str]) -> dict[str, int]:
    """Return what the table holds when every record was counted exactly once."""
    return dict.fromkeys(names, 1)


def names(prefix: str, count: int) -> list[str]:
    """Return distinct payloads."""
    return [f"{prefix}{number}" for number in range(count)]
