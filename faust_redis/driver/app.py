"""The Faust application on Redis Streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import faust
from faust.web.base import BlueprintManager

from faust_redis.driver.assignor import LeaseAssignor
from faust_redis.driver.table import Table
from faust_redis.options import RedisOptions

if TYPE_CHECKING:
    from faust.types.web import Web

#: What an application gets that does not say otherwise. The address of the web server stands here, since Faust's own
#: defaults for it come from the environment.
DEFAULTS: Final[dict[str, Any]] = {
    "store": "redis://",
    "PartitionAssignor": LeaseAssignor,
    "Table": Table,
    "topic_disable_leader": True,
    # A slot holds a whole batch: two keep the agents busy while the next one is read.
    "stream_buffer_maxsize": 2,
    "datadir": "{conf.name}-data",
    "web_bind": "0.0.0.0",  # noqa: S104 - Faust's own default
    "web_port": 6066,
    "web_transport": "tcp://",
}


class App(faust.App):
    """A Faust application whose broker and tables are in Redis.

    It keeps no files, shows none of Faust's own web pages, and takes its settings from its arguments alone: the
    environment variables that Faust reads have no effect on it.

    Args:
        id: Name of the application and of its consumer group.
        redis_options: What can be set on the transport.
        **settings: Faust's settings; README.md says which of them there is no use for here.
    """

    redis_options: RedisOptions

    def __init__(self, id: str, *, redis_options: RedisOptions | None = None, **settings: Any) -> None:  # noqa: A002 - Faust's name
        self.redis_options = redis_options or RedisOptions()
        super().__init__(id, **{**DEFAULTS, **settings, "env": {}})

    def _create_directories(self) -> None:
        """Create none: state is in Redis."""

    def _new_web(self) -> Web:
        """Return the web server without Faust's own pages, which show data to anybody."""
        web = super()._new_web()
        web.blueprints = BlueprintManager()
        return web
