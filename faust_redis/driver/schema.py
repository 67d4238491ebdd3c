"""The schema of topics whose values are batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import faust

if TYPE_CHECKING:
    from faust.types import AppT, Message

    from faust_redis.driver.message import BatchMessage
    from faust_redis.stream.batch import RecordBatch


class BatchSchema(faust.Schema):  # type: ignore[type-arg]  # keys and values of any type
    """Hands the batch to the stream as it is: entries are decoded by the application, all of a batch at once."""

    def loads_key(self, app: AppT, message: Message, **_: Any) -> Any:  # noqa: ARG002 - Faust's signature
        """Return the message's key."""
        return message.key

    def loads_value(self, app: AppT, message: Message, **_: Any) -> RecordBatch:  # noqa: ARG002 - Faust's signature
        """Return the batch, which is settled or given up through its message."""
        batch = cast("RecordBatch", message.value)
        return batch.delivered_by(cast("BatchMessage", message))
