"""An agent that raises in the middle of its work."""

from typing import Any

import pytest

from tests.support.waiting import eventually
from tests.transport.apps import TransportApp, names
from tests.transport.conftest import AppFactory, Stream

#: A dropped batch is found three times in a lease's time; a busy machine renews a lease in less.
TTL = {"lease_ttl_ms": 6000}


class CrashingHandler:
    """Raises for the first batches after they were counted, then lets them pass."""

    def __init__(self, crashes: int, *, ack: bool) -> None:
        self.left = crashes
        self.ack = ack

    async def __call__(self, _app: TransportApp, event: Any) -> None:
        if self.left:
            self.left -= 1
            raise RuntimeError("made up")
        if self.ack:
            event.ack()


@pytest.mark.parametrize("noack", [True, False])
async def test_crashed_batch_is_read_again_and_counted_once(
    transport_app: AppFactory, records: Stream, *, noack: bool
) -> None:
    """A batch whose agent raised is read again, and the table has what a batch without a crash gives."""
    handler = CrashingHandler(0, ack=noack)
    app = await transport_app(records.name, handle=handler, noack=noack, **TTL)
    await records.publish(before := names("a", 10))
    await records.committed(before)
    handler.left = 1
    await records.publish(published := names("b", 10))
    await records.committed([*before, *published])
    assert app.counts == await records.state()
    assert app.counted == [*before, *published, *published]


@pytest.mark.parametrize("noack", [True, False])
async def test_crash_among_other_batches(transport_app: AppFactory, records: Stream, *, noack: bool) -> None:
    """Batches that were processed after a crashed one wait for it, are read again with it, and are counted once."""
    await records.publish(published := names("r", 40))
    handler = CrashingHandler(1, ack=noack)
    app = await transport_app(records.name, handle=handler, noack=noack, batch_size=10, **TTL)
    await records.publish(more := names("s", 10))
    await records.committed([*published, *more])
    await eventually(lambda: app.counts == dict.fromkeys([*published, *more], 1))
