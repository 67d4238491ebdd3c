"""The exposition against the names that dashboards use."""

import math
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import faust_redis
import telemetry_app
from telemetry_app.operations.metrics import RETRIED_OPERATIONS, Metrics

OPERATIONS = (
    "read",
    "commit",
    "renew",
    "balance",
    "create group",
    "load state",
    "postgres",
    "migrations",
    "broadcast",
    "look back",
    "resume",
    "device events",
    "snapshot",
    "distribute",
    "trim",
)
# name as exposed, kind, label, values that are there from the start
TABLE: list[tuple[str, str, str | None, tuple[str, ...]]] = [
    ("processor_consumer_reads_total", "counter", "result", ("ok", "empty", "error")),
    ("processor_consumer_records_total", "counter", None, ()),
    ("processor_consumer_lag", "gauge", None, ()),
    ("processor_oldest_unread_seconds", "gauge", None, ()),
    ("processor_partitions_unreadable", "gauge", None, ()),
    ("processor_partitions_paused", "gauge", None, ()),
    ("processor_decode_errors_total", "counter", None, ()),
    ("processor_position_writes_total", "counter", "status", ("inserted", "duplicate", "merged", "failed")),
    ("processor_faulty_positions_total", "counter", "reason", ("ahead", "null-island")),
    ("processor_writes_in_trouble", "gauge", None, ()),
    ("processor_position_write_duration_seconds", "histogram", None, ()),
    ("processor_acks_total", "counter", None, ()),
    ("processor_distribution_lag", "gauge", None, ()),
    ("processor_distributed_records_total", "counter", None, ()),
    ("processor_distribution_restarts_total", "counter", None, ()),
    ("processor_device_state_size", "gauge", None, ()),
    ("processor_device_state_evictions_total", "counter", None, ()),
    ("processor_dead_letters_total", "counter", "reason", ()),
    ("processor_partitions_owned", "gauge", None, ()),
    ("processor_standby", "gauge", None, ()),
    ("processor_redeliveries_total", "counter", None, ()),
    ("processor_state_conflicts_total", "counter", None, ()),
    ("processor_trimmed_records_total", "counter", None, ()),
    ("processor_retries_total", "counter", "operation", OPERATIONS),
    ("processor_live_connections", "gauge", None, ()),
    ("processor_live_subscriptions", "gauge", None, ()),
    ("processor_live_frames_total", "counter", "result", ("sent", "conflated")),
    ("processor_live_orphan_positions_total", "counter", None, ()),
    ("processor_live_late_positions_total", "counter", None, ()),
    ("processor_live_auth_duration_seconds", "histogram", "result", ("ok", "unauthorized", "error")),
    (
        "processor_live_authz_duration_seconds",
        "histogram",
        "result",
        ("ok", "unauthorized", "forbidden", "not-found", "error"),
    ),
    ("processor_live_snapshot_duration_seconds", "histogram", None, ()),
    ("processor_live_history_duration_seconds", "histogram", "result", ("ok", "busy", "error", "left")),
    ("processor_live_refused_total", "counter", "reason", ("full", "address", "user", "waiting")),
    ("processor_live_slow_clients_total", "counter", None, ()),
    ("processor_live_delivery_seconds", "histogram", None, ()),
]


def test_every_retried_operation_is_known() -> None:
    """Whatever the code counts as tried again stands at 0 from the start, and nothing else does."""
    counted = re.compile(r'(?:retried\(|operation=|retries\.labels\()"([a-z ]+)"')
    sources = [path for package in (telemetry_app, faust_redis) for path in Path(package.__path__[0]).rglob("*.py")]
    assert {name for path in sources for name in counted.findall(path.read_text())} == set(RETRIED_OPERATIONS)


def samples(metrics: Metrics) -> dict[tuple[str, str | None, str | None], float]:
    """Return value by name, label and label value, buckets left out."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                label, value = next(iter(sample.labels.items()), (None, None))
                found[sample.name, label, value] = sample.value
    return found


def test_exposed_names_kinds_and_labels() -> None:
    """Exactly the documented metrics stand in the exposition, beside the process's own."""
    text = Metrics().render().decode()
    types = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE processor_")]
    assert sorted(map(tuple, types)) == sorted((name, kind) for name, kind, _, _ in TABLE)


@pytest.mark.parametrize(("name", "kind", "label", "values"), TABLE, ids=[row[0] for row in TABLE])
def test_initial_values(name: str, kind: str, label: str | None, values: tuple[str, ...]) -> None:
    """What can be known beforehand is visible, and 0, from the start; the lag is unknown."""
    found = {key: value for key, value in samples(Metrics()).items() if key[0].startswith(name)}
    shown = {f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    series = [(label, value) for value in values] if label else [(None, None)]
    expected = {(one, *pair): 0.0 for one in shown for pair in series}
    if name in {"processor_consumer_lag", "processor_oldest_unread_seconds"}:
        assert [math.isnan(value) for value in found.values()] == [True]
    else:
        assert found == expected


def test_counting() -> None:
    """A count goes up where it is counted, on this registry alone."""
    one, other = Metrics(), Metrics()
    one.dead_letters.labels("decode").inc(3)
    one.position_writes.labels("inserted").inc(1000)
    one.consumer_lag.set(7)
    found = samples(one)
    assert found["processor_dead_letters_total", "reason", "decode"] == 3
    assert found["processor_position_writes_total", "status", "inserted"] == 1000
    assert found["processor_consumer_lag", None, None] == 7
    assert samples(other)["processor_position_writes_total", "status", "inserted"] == 0


def test_given_registry_and_the_process() -> None:
    """A registry may be given; the process's, the platform's and the collector's own metrics stand on it."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    assert metrics.registry is registry
    found = samples(metrics)
    assert found["process_resident_memory_bytes", None, None] > 0
    assert {"python_info", "python_gc_collections_total"} <= {name for name, _, _ in found}
