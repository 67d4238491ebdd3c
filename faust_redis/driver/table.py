"""A Faust table that writes no changelog: its store is durable by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import faust

from faust_redis.redis.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping


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
