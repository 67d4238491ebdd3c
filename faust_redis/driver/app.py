"""The Faust application on Redis Streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import faust
from faust.web.base import BlueprintManager

from faust_redis.driver.assignor import LeaseAssignor
from faust_redis.driver.declarations import (
    Agent,
    Stream,
    note_partitions,
    refuse_leader,
    refuse_subscription,
    refuse_table,
    refuse_topic,
)
from faust_redis.driver.environment import refuse_environment
from faust_redis.driver.settings import Settings, refuse_options, refuse_settings, refuse_unknown
from faust_redis.driver.store import Table
from faust_redis.driver.tables import TableManager
from faust_redis.options import RedisOptions
from faust_redis.redis.address import one_host
from faust_redis.redis.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import MutableSequence

    from faust.types import StreamT, TopicT
    from faust.types.fixups import FixupT
    from faust.types.web import Web

#: What an application gets that does not say otherwise. The address of the web server stands here, since Faust's own
#: defaults for it come from the environment.
DEFAULTS: Final[dict[str, Any]] = {
    "broker": "redis://localhost:6379",
    "store": "redis://",
    "Agent": Agent,
    "PartitionAssignor": LeaseAssignor,
    "Stream": Stream,
    "Table": Table,
    "TableManager": TableManager,
    "topic_disable_leader": True,
    # A slot holds a whole batch: two keep the agents busy while the next one is read.
    "stream_buffer_maxsize": 2,
    "web_bind": "0.0.0.0",  # noqa: S104 - Faust's own default
    "web_port": 6066,
    "web_transport": "tcp://",
}


class App(faust.App):
    """A Faust application whose broker and tables are in Redis.

    It keeps no files, shows none of Faust's own web pages, and takes its settings from its arguments alone: the
    environment variables that Faust reads have no effect on it. What Faust offers and Redis Streams cannot do is
    refused where it is said, in one sentence; README.md has the list.

    Args:
        id: Name of the application and of its consumer group.
        redis_options: What can be set on the transport.
        **settings: Faust's settings.

    Raises:
        Misconfigured: A setting, or a variable of the environment, cannot work.
    """

    Settings = Settings
    #: Class of the web server; None = the driver that Faust's setting `web` names.
    WebServer: type[Web] | None = None
    redis_options: RedisOptions
    #: Number of partitions of the topics that have one of their own, those that are only sent to included.
    declared_partitions: dict[str, int]

    def __init__(self, id: str, *, redis_options: RedisOptions | None = None, **settings: Any) -> None:  # noqa: A002 - Faust's name
        refuse_environment()
        refuse_unknown(settings)
        settings = {**DEFAULTS, **{name: value for name, value in settings.items() if value is not None}}
        if isinstance(settings["broker"], str):
            settings["broker"] = one_host(settings["broker"])
        refuse_settings(settings)
        self.redis_options = RedisOptions() if redis_options is None else redis_options
        refuse_options(self.redis_options)
        self.declared_partitions = {}
        super().__init__(id, **settings)

    async def on_first_start(self) -> None:
        """Look at what was declared, for those who start the application without Faust's commands."""
        self._refuse_agents()
        await super().on_first_start()

    def worker_init_post_autodiscover(self) -> None:
        """Look at what was declared, as soon as Faust's commands have imported everything."""
        self._refuse_agents()
        super().worker_init_post_autodiscover()

    def _refuse_agents(self) -> None:
        for name, agent in self.agents.items():
            refuse_subscription(agent.channel, f"the agent {name}")

    # --- declarations; each raises Misconfigured for what cannot work ---

    def topic(self, *topics: str, **arguments: Any) -> TopicT:
        """Describe a topic."""
        if not arguments.get("internal"):  # declared by Faust itself, as changelogs are
            refuse_topic(topics, arguments)
        if (partitions := arguments.get("partitions")) is not None:
            note_partitions(self.declared_partitions, topics, partitions)
        return super().topic(*topics, **arguments)

    def stream(self, channel: Any, *args: Any, **kwargs: Any) -> StreamT[Any]:
        """Create a stream of a channel's values."""
        refuse_subscription(channel, "a stream")
        return super().stream(channel, *args, **kwargs)

    def Table(self, name: str, **arguments: Any) -> Table:  # noqa: N802 - Faust's name
        """Define a table."""
        refuse_table(name, arguments)
        return cast("Table", super().Table(name, **arguments))

    def SetTable(self, name: str, **_: Any) -> NoReturn:  # noqa: N802 - Faust's name
        """Refuse: sets are kept by a changelog."""
        raise Misconfigured(f"the table {name} cannot be of sets: use a Table whose values are lists")

    def GlobalTable(self, name: str, **_: Any) -> NoReturn:  # noqa: N802 - Faust's name
        """Refuse: it would need a changelog that every worker reads."""
        raise Misconfigured(f"the table {name} cannot be global: each worker has the keys of its own partitions")

    SetGlobalTable = GlobalTable

    def task(self, fun: Any = None, *, on_leader: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]  # as above
        """Run a function once when the worker has started."""
        refuse_leader(on_leader)
        return super().task(fun, **kwargs)

    def timer(self, interval: Any, on_leader: bool = False, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # Faust's signature  # noqa: FBT001, FBT002
        """Run a function again and again."""
        refuse_leader(on_leader)
        return super().timer(interval, False, *args, **kwargs)  # noqa: FBT003 - as above

    def crontab(self, cron_format: str, *, on_leader: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]  # as above
        """Run a function at set times."""
        refuse_leader(on_leader)
        return super().crontab(cron_format, **kwargs)

    def is_leader(self) -> NoReturn:
        """Refuse: there is none."""
        raise Misconfigured("workers on Redis Streams have no leader")

    def table_route(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: no worker knows where a key is."""
        raise Misconfigured("requests are not routed between workers: each knows its own partitions only")

    topic_route = table_route

    # --- what Faust would do besides ---

    def _init_fixups(self) -> MutableSequence[FixupT]:
        """Apply none: they are switched on by the environment."""
        return []

    def _create_directories(self) -> None:
        """Create none: state is in Redis."""

    def _new_web(self) -> Web:
        """Return the web server without Faust's own pages, which show data to anybody."""
        web = self.WebServer(self) if self.WebServer else super()._new_web()
        web.blueprints = BlueprintManager()
        return web
