"""What the settings make of the transport."""

import pytest

from faust_redis.options import Retention
from telemetry_app.assembly.transport import redis_options
from telemetry_app.operations.metrics import Metrics
from telemetry_app.settings import load_settings

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "retention"),
    [
        ("none", None),
        ("100000", Retention(entries=100_000)),
        ("90s", Retention(age_ms=90_000)),
        ("30m", Retention(age_ms=HOUR_MS // 2)),
        ("6h", Retention(age_ms=6 * HOUR_MS)),
        ("7d", Retention(age_ms=7 * 24 * HOUR_MS)),
        ("2w", Retention(age_ms=14 * 24 * HOUR_MS)),
    ],
)
def test_retention(text: str, retention: Retention | None) -> None:
    """A number is of records, one with a unit is a time."""
    assert redis_options(load_settings(stream_retention=text), Metrics()).retention == retention


@pytest.mark.parametrize(
    ("producer", "partitions", "removes"), [("single", 1, False), ("single", 2, True), ("sharded", 2, False)]
)
def test_what_is_committed_leaves_streams_that_only_workers_read(
    producer: str, partitions: int, *, removes: bool
) -> None:
    """Where there is a plain stream besides; else maps read the same streams, and whoever trims them decides."""
    settings = load_settings(redis_telemetry_producer=producer, redis_telemetry_partitions=partitions)
    assert redis_options(settings, Metrics()).removes_committed is removes
