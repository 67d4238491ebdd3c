"""Records come in as batches, in order, and are acknowledged one by one."""

from __future__ import annotations

import pytest

from tests.conftest import ValkeyFactory
from tests.support import eventually
from tests.transport.apps import GROUP, names
from tests.transport.conftest import AppFactory, Stream


async def test_one_event_for_each_read(transport_app: AppFactory, records: Stream) -> None:
    """What was published before the first start comes as whole batches in stream order with ids, and is acknowledged."""
    published = names("r", 25)
    ids = await records.publish(published)
    app = await transport_app(records.name, batch_size=10)
    await records.committed(published)
    assert [len(batch) for batch in app.batches] == [10, 10, 5]
    assert [entry_id for batch in app.batches for entry_id, _ in batch] == ids
    assert [fields for batch in app.batches for _, fields in batch] == [[b"payload", n.encode()] for n in published]
    assert app.observer.total == {"delivered": 25, "acknowledged": 25}
