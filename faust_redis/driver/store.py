"""Tables whose store is `redis://`: dictionaries in memory, one Redis hash for each partition behind them."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

import faust
import msgspec
from faust.stores import base
from faust.streams import current_event

from faust_redis.driver.message import BatchMessage
from faust_redis.options import RedisOptions
from faust_redis.redis import keys
from faust_redis.redis.client import execute
from faust_redis.redis.errors import ANY_REDIS_ERROR, Misconfigured
from faust_redis.redis.replies import pairs
from faust_redis.redis.retry import retry_until_stopped
from faust_redis.stream.ledger import DELETED
from faust_redis.stream.versions import FIELD, NOT_A_KEY, UNVERSIONED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from faust.types import TP, EventT

    from faust_redis.driver.consumer import Consumer
    from faust_redis.stream.partition import Partition

logger = logging.getLogger(__name__)

_PAGE = 1000


class Store(base.Store):  # type: ignore[type-arg]  # keys are strings, values of any type
    """Store of a table whose keys are strings and whose values msgspec can encode as msgpack.

    A change is kept in memory and noted in the ledger entry of the batch being processed; the commit of the batch
    writes it to the partition's hash in the same step that acknowledges the entries, provided that the hash is what
    the change was computed from. Memory and hash therefore never disagree unnoticed about what has been processed.

    Memory holds values as the hash does, encoded, so one object for each key: with a hundred thousand keys, taking
    apart what a new value replaces costs more than encoding when a value consists of ten objects, all of them cold.

    Table options:
        max_keys: Bound on the number of keys in this worker. Past it, the keys of the current partition that were
            changed longest ago are deleted.
        recency: Function of a value that grows with every change, so that the order of changes outlives a restart.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = self.options or {}
        self._max_keys: int | None = options.get("max_keys")
        self._recency: Callable[[Any], Any] | None = options.get("recency")
        self._observer = RedisOptions.of(self.app).observer
        self._partitions: dict[TP, dict[str, bytes]] = {}
        # Partitions whose keys need not be in the order of changes yet: keeping it costs more than setting the values,
        # and most tables never reach their bound.
        self._unsorted: set[TP] = set()
        self._size = 0
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(self.value_type or Any).decode

    # --- reading and writing ---

    @property
    def data(self) -> dict[str, Any]:  # type: ignore[override]  # an attribute in the base class
        """A copy of all partitions held; the base class takes `items()` and its like from here."""
        decode = self._decode
        return {key: decode(value) for values in self._partitions.values() for key, value in values.items()}

    def encoded(self) -> Mapping[str, bytes]:
        """Return the keys and encoded values of the partition being processed."""
        return self._partitions.setdefault(self._message().tp, {})

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set many keys of the partition being processed; they become its most recently changed ones."""
        encode = self._encode
        changes = dict(*args, **kwargs)
        if not all(isinstance(key, str) for key in changes):
            raise TypeError(f"the keys of table {self.table_name} must be strings: Redis gives no others back")
        self.update_encoded({key: encode(value) for key, value in changes.items()})

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        message = self._message()
        if _is_dropped(message):
            return
        del self._partitions.get(message.tp, {})[key]
        self._note(message, {key: DELETED})
        self._resize(-1)

    def __getitem__(self, key: str) -> Any:
        for values in self._within_reach():
            if key in values:
                return self._decode(values[key])
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return any(key in values for values in self._within_reach())

    def __iter__(self) -> Iterator[str]:
        for values in self._partitions.values():
            yield from values

    def __len__(self) -> int:
        return self._size

    def clear(self) -> None:
        """Delete every key of the partition being processed."""
        for key in list(self.encoded()):
            del self[key]

    def update_encoded(self, changes: dict[str, bytes]) -> None:
        """Do what `update` does, with values encoded already; the dictionary is the store's from then on."""
        message = self._message()
        if _is_dropped(message):
            return
        values = self._partitions.setdefault(message.tp, {})
        before = len(values)
        if message.tp in self._unsorted or not self._max_keys:
            values.update(changes)
        else:
            self._make_recent(values, changes)
        self._note(message, changes)
        self._resize(len(values) - before)
        if self._max_keys and self._size > self._max_keys:
            self._evict(message, values, min(self._size - self._max_keys, len(values)))

    @staticmethod
    def _make_recent(values: dict[str, bytes], changes: dict[str, bytes]) -> None:
        """Set keys so that they come last: a dictionary keeps the order in which keys were added."""
        forget = values.pop
        for key, value in changes.items():
            forget(key, None)
            values[key] = value

    def _sort(self, values: dict[str, bytes], recency: Callable[[Any], Any]) -> None:
        """Put the keys changed longest ago first, in place: agents may hold on to `encoded()`."""
        in_order = sorted(values.items(), key=lambda item: recency(self._decode(item[1])))
        values.clear()
        values.update(in_order)

    def _evict(self, message: Any, values: dict[str, bytes], excess: int) -> None:
        if self._recency and message.tp in self._unsorted:
            self._unsorted.discard(message.tp)
            self._sort(values, self._recency)
        oldest = [key for key, _ in zip(values, range(excess), strict=False)]
        for key in oldest:
            del values[key]
        self._note(message, dict.fromkeys(oldest, DELETED))
        self._resize(-excess)
        self._observer.evicted(self.table_name, excess)

    def _note(self, message: Any, changes: dict[str, Any]) -> None:
        """Note changes with the batch being processed; an agent under test has none."""
        if isinstance(message, BatchMessage):
            message.flight.note(self.table_name, changes)

    def _within_reach(self) -> Iterable[dict[str, bytes]]:
        """Return where to look a key up: in the partition being processed, outside an agent in all of them."""
        event = current_event()
        if event is not None and event.message.tp in self._partitions:
            return (self._partitions[event.message.tp],)
        return self._partitions.values()

    def _resize(self, by: int) -> None:
        self._size += by
        self._observer.state_size(self.table_name, self._size)

    def _message(self) -> Any:
        event = current_event()
        if event is None:
            raise RuntimeError(f"table {self.table_name} can only be changed while an agent processes an event")
        return event.message

    # --- partitions come and go ---

    async def need_active_standby_for(self, tp: TP) -> bool:  # noqa: ARG002 - Faust's signature
        """Return False: the state is in Redis."""
        return False

    def persisted_offset(self, tp: TP) -> int | None:  # noqa: ARG002 - Faust's signature
        """Return None: there is no changelog to read from an offset."""
        return None

    def reset_state(self) -> None:
        """Do nothing: there are no local files."""

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]], to_key: Any, to_value: Any) -> None:
        """Do nothing: there is no changelog topic."""

    async def backup_partition(self, tp: Any, flush: bool = True, purge: bool = False, keep: int = 1) -> None:  # noqa: FBT001, FBT002 - Faust's signature
        """Do nothing: back Redis up instead."""

    def restore_backup(self, tp: Any, latest: bool = True, backup_id: int = 0) -> None:  # noqa: FBT001, FBT002 - Faust's signature
        """Do nothing: restore Redis instead."""

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],  # noqa: ARG002 - the partitions themselves know
        generation_id: int = 0,  # noqa: ARG002 - Faust's signature
    ) -> None:
        """Drop what was revoked and load what was assigned, before its first record is delivered.

        A partition that stays is loaded again when a batch was given up after it had changed the table: its entries
        come again, and their changes must not be counted twice.
        """
        held = self._consumer().holdings
        to_load = {
            tp: held[tp] for tp in assigned if tp in held and held[tp].ledger.versions.must_load(self.table_name)
        }
        for tp in revoked | to_load.keys():
            self._unsorted.discard(tp)
            self._resize(-len(self._partitions.pop(tp, ())))
        for tp, partition in to_load.items():
            values = await self._load(partition)
            if held.get(tp) is not partition:  # a worker that stops has given it back meanwhile
                continue
            self._partitions[tp] = values
            if self._recency:
                self._unsorted.add(tp)
            # At once: batches of other partitions go on meanwhile, and the size decides on evictions.
            self._resize(len(values))

    def _consumer(self) -> Consumer:
        return cast("Consumer", self.app.consumer)

    async def _load(self, partition: Partition) -> dict[str, bytes]:
        key = keys.state(partition.stream, self.app.conf.id, self.table_name)
        version, values = await retry_until_stopped(
            partial(self._try_to_read, partition, key),
            operation="load state",
            observer=self._observer,
            stopping=lambda: self.app.should_stop,
        )
        logger.info("loaded %d keys of table %s from %s", len(values), self.table_name, key)
        partition.ledger.versions.loaded(self.table_name, version)
        return values

    async def _try_to_read(self, partition: Partition, key: str) -> tuple[bytes, dict[str, bytes]]:
        try:
            loaded = await self._read(partition, key)
        except ANY_REDIS_ERROR as error:
            self._consumer().loading_failure = f"{key} cannot be loaded ({type(error).__name__}: {error})"
            raise
        self._consumer().loading_failure = None
        return loaded

    async def _read(self, partition: Partition, key: str) -> tuple[bytes, dict[str, bytes]]:
        """Return a version and its values: read again when a commit came between, which only an old lease lets happen.

        When the lease is lost whatever was read will do: it is dropped, and what was computed from it refused.
        """
        while True:
            version = await self._version(key)
            values = await self._scan(key)
            if partition.lost or version == await self._version(key):
                return version, values

    async def _version(self, key: str) -> bytes:
        return await execute(self._consumer().client, "HGET", key, FIELD) or UNVERSIONED

    async def _scan(self, key: str) -> dict[str, bytes]:
        values: dict[str, bytes] = {}
        cursor: Any = 0
        while True:
            cursor, page = await execute(self._consumer().client, "HSCAN", key, cursor, "COUNT", _PAGE)
            for field, raw in pairs(page):
                if not field.startswith(NOT_A_KEY):
                    self._take(values, key, field, raw)
            if int(cursor) == 0:
                return values

    def _take(self, values: dict[str, bytes], hash_key: str, field: bytes, raw: bytes) -> None:
        try:
            self._decode(raw)  # only to be told now if it cannot be read
            values[field.decode()] = raw
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            logger.error("%s holds an unreadable value for %r, ignored: %s", hash_key, field, error)  # noqa: TRY400


def _is_dropped(message: Any) -> bool:
    """Tell whether a batch was given up while its agent still works on it: its entries are, or were, read again."""
    return isinstance(message, BatchMessage) and message.flight.dropped


class Table(faust.Table):  # type: ignore[type-arg]  # keys are strings, values of any type
    """Table whose changes are carried by the commit of the batch that made them."""

    def encoded(self) -> Mapping[str, bytes]:
        """Return the keys and encoded values of the partition whose batch is being processed; read it only."""
        return self.data.encoded()  # type: ignore[no-any-return,attr-defined]  # the store is ours

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set many keys at once; far cheaper than one by one."""
        self.data.update(*args, **kwargs)

    def update_encoded(self, changes: dict[str, bytes]) -> None:
        """Set many keys to values that are msgpack already; the dictionary is the table's from then on."""
        self.data.update_encoded(changes)  # type: ignore[attr-defined]  # the store is ours

    def using_window(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: `hopping` and `tumbling` come here too.

        Raises:
            Misconfigured: Always.
        """
        raise Misconfigured(f"the table {self.name} cannot have a window, since nothing would ever close it")

    def on_key_set(self, key: str, value: Any) -> None:
        """Tell the sensors; nothing is sent to a changelog topic."""
        self._sensor_on_set(self, key, value)

    def on_key_del(self, key: str) -> None:
        """Tell the sensors; nothing is sent to a changelog topic."""
        self._sensor_on_del(self, key)
