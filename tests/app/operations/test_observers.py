"""What is reported is counted where dashboards look for it."""

import pytest

from telemetry_app.operations.metrics import Metrics
from telemetry_app.operations.observers import TransportMetrics, WriteMetrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_records_that_cannot_be_decoded_are_counted(metrics: Metrics) -> None:
    """By the number of records of a batch."""
    WriteMetrics(metrics).undecodable(3)
    assert value(metrics, "processor_decode_errors_total") == 3


def test_rows_are_counted_by_what_became_of_them(metrics: Metrics) -> None:
    """Inserted, known already, merged, refused."""
    observer = WriteMetrics(metrics)
    observer.inserted(5)
    observer.duplicates(4)
    observer.merged(2)
    observer.failed(1)
    statuses = ("inserted", "duplicate", "merged", "failed")
    assert [value(metrics, "processor_position_writes_total", status=status) for status in statuses] == [5, 4, 2, 1]


def test_refused_states_are_counted(metrics: Metrics) -> None:
    """One for each commit."""
    TransportMetrics(metrics).state_conflict()
    assert value(metrics, "processor_state_conflicts_total") == 1


def test_what_is_not_distributed_is_unread(metrics: Metrics) -> None:
    """Lag and waiting time are those of the partitions and of the plain stream together."""
    observer = TransportMetrics(metrics)
    observer.lag(5)
    observer.oldest_unread(1.5)
    observer.undistributed(7, 3.5)
    names = ("processor_consumer_lag", "processor_distribution_lag", "processor_oldest_unread_seconds")
    assert [value(metrics, name) for name in names] == [12, 7, 3.5]
    observer.undistributed(0, 0.0)
    assert [value(metrics, name) for name in names] == [5, 0, 1.5]


def test_only_the_table_of_devices_is_shown_as_devices(metrics: Metrics) -> None:
    """A second computation's table does not change the number of devices."""
    observer = TransportMetrics(metrics)
    observer.state_size("device_state", 7)
    observer.state_size("speed_sums", 3)
    observer.evicted("device_state", 2)
    observer.evicted("speed_sums", 1)
    assert value(metrics, "processor_device_state_size") == 7
    assert value(metrics, "processor_device_state_evictions_total") == 2
