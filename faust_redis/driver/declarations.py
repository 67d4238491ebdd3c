"""What an application declares with Faust and this transport cannot do, told where it is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import faust
from faust.types import TopicT

from faust_redis.driver.channel import BatchSchema
from faust_redis.driver.settings import refuse_partitions, refuse_store
from faust_redis.redis.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Arguments of a topic that are for the server to follow. Nobody declares a stream: its first entry makes it.
_FOR_THE_SERVER: Final = ("compacting", "config", "deleting", "replicas", "retention")
#: Arguments of a topic by which Faust decodes single records.
_OF_RECORDS: Final = ("key_type", "value_type")
#: What the store of a table understands.
_TABLE_OPTIONS: Final = ("max_keys", "recency")
#: Arguments of a table that speak of its changelog.
_CHANGELOG: Final = (
    "changelog_topic",
    "extra_topic_configs",
    "on_changelog_event",
    "recovery_buffer_size",
    "standby_buffer_size",
    "use_partitioner",
)


class Agent(faust.Agent):
    """Agent that can be sent to, but not asked."""

    async def ask_nowait(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: also `ask`, `map`, `join` and their like come here.

        Raises:
            Misconfigured: Always.
        """
        raise Misconfigured("agents cannot be asked for replies on Redis Streams: use `cast` or `send`")


class Stream(faust.Stream):  # type: ignore[type-arg]  # values of any type
    """Stream whose values are batches."""

    def group_by(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: a batch has many keys.

        Raises:
            Misconfigured: Always.
        """
        raise Misconfigured("a stream of batches cannot be grouped by a key: send its records to another topic by key")


def refuse_topic(topics: tuple[str, ...], arguments: Mapping[str, Any]) -> None:
    """Refuse the arguments of `App.topic` that cannot work.

    Raises:
        Misconfigured: In one sentence.
    """
    if arguments.get("pattern"):
        raise Misconfigured("a topic cannot be a pattern: each worker must know which streams there are")
    subject = f"the topic {', '.join(topics)}"
    if arguments.get("acks") is False:
        raise Misconfigured(f"{subject} cannot have acks=False, since what is never acknowledged stays pending")
    schema = arguments.get("schema")
    if isinstance(schema, type):
        raise Misconfigured(f"{subject} has a class as its schema, but needs an instance: {schema.__name__}()")
    for name in _OF_RECORDS if isinstance(schema, BatchSchema) else ():
        if arguments.get(name) is not None:
            raise Misconfigured(f"{subject} cannot have {name}, since its values are batches: decode their entries")
    for name in _FOR_THE_SERVER:
        if arguments.get(name) is not None:
            raise Misconfigured(f"{subject} cannot have {name}, since its first entry makes a stream, no declaration")


def note_partitions(declared: dict[str, int], topics: tuple[str, ...], partitions: int) -> None:
    """Remember how many partitions topics have.

    Raises:
        Misconfigured: They cannot have so many, or were declared with another number.
    """
    for topic in topics:
        refuse_partitions(f"the number of partitions of the topic {topic}", partitions)
        if declared.setdefault(topic, partitions) != partitions:
            raise Misconfigured(
                f"the topic {topic} cannot have {partitions} partitions here and {declared[topic]} elsewhere"
            )


def refuse_subscription(channel: Any, subject: str) -> None:
    """Refuse to read a topic whose values would not be batches; channels in memory hold anything.

    Raises:
        Misconfigured: In one sentence.
    """
    if isinstance(channel, TopicT) and not isinstance(channel.schema, BatchSchema):
        names = ", ".join(channel.topics)
        raise Misconfigured(f"{subject} reads the topic {names}, which needs schema=faust_redis.BatchSchema()")


def refuse_table(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuse the arguments of `App.Table` that cannot work.

    Raises:
        Misconfigured: In one sentence.
    """
    if arguments.get("window") is not None:
        raise Misconfigured(f"the table {name} cannot have a window, since nothing would ever close it")
    if arguments.get("store") is not None:
        refuse_store(arguments["store"])
    if arguments.get("key_type") not in (None, str):
        raise Misconfigured(f"the keys of table {name} must be strings")
    if arguments.get("partitions") is not None:
        raise Misconfigured(f"the table {name} cannot have partitions of its own: it has those of its topic")
    for option, value in (arguments.get("options") or {}).items():
        if option not in _TABLE_OPTIONS:
            raise Misconfigured(f"the table {name} has no option {option}, only {' and '.join(_TABLE_OPTIONS)}")
        if option == "max_keys" and value is not None and value < 1:
            raise Misconfigured(f"the option max_keys of the table {name} is {value}, but must be at least 1")
    for argument in _CHANGELOG:
        if arguments.get(argument) is not None:
            raise Misconfigured(f"the table {name} cannot have {argument}, since tables have no changelog")


def refuse_leader(on_leader: bool) -> None:  # noqa: FBT001 - Faust's flag
    """Refuse work for the leader alone.

    Raises:
        Misconfigured: It was asked for.
    """
    if on_leader:
        raise Misconfigured("on_leader cannot work, since workers on Redis Streams have no leader")
