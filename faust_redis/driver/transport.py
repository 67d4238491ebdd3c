"""The transport that Faust finds behind `redis://` and its relatives."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

from faust.transport import base

from faust_redis.driver.app import App
from faust_redis.driver.consumer import Consumer
from faust_redis.driver.producer import Producer
from faust_redis.redis.errors import Misconfigured

if TYPE_CHECKING:
    from faust.types import AppT
    from yarl import URL


class Transport(base.Transport):
    """Faust transport on Redis Streams; of a `faust_redis.App`, whose `redis_options` set it up."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    Producer: ClassVar[type[Producer]] = Producer

    default_port = 6379
    driver_version = f"redis={version('redis')}"

    def __init__(self, url: list[URL], app: AppT, **kwargs: Any) -> None:
        if not isinstance(app, App):
            raise Misconfigured(f"the application {app.conf.id} must be a faust_redis.App to use {url[0].scheme}://")
        super().__init__(url, app, **kwargs)
