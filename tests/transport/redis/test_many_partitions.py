"""Hundreds of partitions at once, with few connections."""

import pytest

from tests.support.waiting import eventually
from tests.transport.conftest import AppFactory, Stream

PARTITIONS = 300


@pytest.fixture(params=["records", "cluster"], ids=["one server", "cluster"])
def place(request: pytest.FixtureRequest) -> Stream:
    """Streams on a single server, and on a cluster."""
    found: Stream = request.getfixturevalue(request.param)
    return found


async def publish(place: Stream, prefix: str) -> list[str]:
    payloads = [f"{prefix}{number}" for number in range(PARTITIONS)]
    for number, payload in enumerate(payloads):
        await place.publish([payload], stream=f"{place.name}:{number}")
    return payloads


async def clients(place: Stream) -> int:
    return int((await place.redis.info("clients"))["connected_clients"])


@pytest.mark.parametrize("options", ["", "?max_connections=10"], ids=["default pool", "smallest pool"])
async def test_one_worker_with_hundreds(
    transport_app: AppFactory, place: Stream, options: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One worker takes 300 partitions, reads and commits all of them, and needs no connection for each."""
    first = await publish(place, "a")
    before = await clients(place)
    # A busy machine takes hundreds of partitions slowly.
    patient = {"lease_ttl_ms": 60_000, "lag_interval_s": 1, "ready": False}
    app = await transport_app(place.name, url=place.redis_url + options, partitions=PARTITIONS, **patient)
    await eventually(lambda: app.observer.total["acknowledged"] == PARTITIONS, timeout_s=60)
    assert len(app.partitions) == PARTITIONS
    second = await publish(place, "b")
    await eventually(lambda: app.observer.total["acknowledged"] == 2 * PARTITIONS, timeout_s=60)
    assert sorted(app.counted) == sorted([*first, *second])
    await eventually(lambda: app.observer.lags[-1] == 0)
    assert await clients(place) - before <= 10
    assert not any("MaxConnectionsError" in record.getMessage() for record in caplog.records)
