"""The transport that Faust finds behind `redis://` and its relatives."""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar

from faust.transport import base

from faust_redis.driver.consumer import Consumer
from faust_redis.driver.producer import Producer


class Transport(base.Transport):
    """Faust transport on Redis Streams; an application sets it up by its `redis_options` attribute."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    Producer: ClassVar[type[Producer]] = Producer

    default_port = 6379
    driver_version = f"redis={version('redis')}"
