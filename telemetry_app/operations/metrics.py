from math import nan
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from telemetry_app.records import quality

# One more series per counter that says only when the process started, which process_start_time_seconds says.
disable_created_metrics()  # type: ignore[no-untyped-call] # the library left its annotation out

# Seconds. One INSERT of a thousand rows takes about 15 ms; the statement timeout ends what takes longest.
WRITE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Seconds. A question to Directus: from its own cache in milliseconds up to DIRECTUS_TIMEOUT_MS.
QUESTION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Seconds. From a fraction of a millisecond on one machine to minutes behind after an outage.
DELIVERY_BUCKETS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    15.0,
    60.0,
)

READ_RESULTS: Final = ("ok", "empty", "error")
WRITE_STATUSES: Final = ("inserted", "duplicate", "merged", "failed")
RETRIED_OPERATIONS: Final = (
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
REFUSED_REASONS: Final = ("full", "address", "user", "waiting")
FRAME_RESULTS: Final = ("sent", "conflated")
AUTH_RESULTS: Final = ("ok", "unauthorized", "error")
AUTHZ_RESULTS: Final = ("ok", "unauthorized", "forbidden", "not-found", "error")
HISTORY_RESULTS: Final = ("ok", "busy", "error", "left")


class Metrics:
    """Every metric of one process, on a registry of its own.

    Series whose label values are known beforehand stand at 0 from the start, so that a rate over them is
    right from the first event on.

    Args:
        registry: Where to register; a new one by default, so that two apps in one process don't meet.
    """

    content_type: Final = CONTENT_TYPE_LATEST

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._add_reading(self.registry)
        self._add_writing(self.registry)
        self._add_live_clients(self.registry)
        self._add_live_questions(self.registry)
        self._start_at_zero()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, to be served as `content_type`."""
        return generate_latest(self.registry)

    def _add_reading(self, registry: CollectorRegistry) -> None:
        self.consumer_reads = Counter(
            "processor_consumer_reads_total", "Reads of the stream, by result", ["result"], registry=registry
        )
        self.consumer_records = Counter(
            "processor_consumer_records_total", "Records read from the stream", registry=registry
        )
        self.consumer_lag = Gauge(
            "processor_consumer_lag",
            "Records of the stream not yet read by the group; NaN = unknown",
            registry=registry,
        )
        self.consumer_lag.set(nan)
        self.oldest_unread = Gauge(
            "processor_oldest_unread_seconds",
            "How long the oldest record not yet read by the group has waited; NaN = unknown",
            registry=registry,
        )
        self.oldest_unread.set(nan)
        self.partitions_owned = Gauge(
            "processor_partitions_owned", "Partitions this worker holds a lease on", registry=registry
        )
        self.standby = Gauge(
            "processor_standby",
            "1 while this worker has no partition since others hold all of them, else 0",
            registry=registry,
        )
        self.partitions_paused = Gauge(
            "processor_partitions_paused",
            "Partitions this worker does not read because most of their records were refused",
            registry=registry,
        )
        self.partitions_unreadable = Gauge(
            "processor_partitions_unreadable",
            "Partitions that this worker cannot take because Redis refuses one of their keys",
            registry=registry,
        )
        self.redeliveries = Counter(
            "processor_redeliveries_total",
            "Records delivered again after an earlier delivery",
            registry=registry,
        )
        self.trimmed = Counter(
            "processor_trimmed_records_total",
            "Records lost: trimmed, deleted or evicted before they were acknowledged",
            registry=registry,
        )
        self.decode_errors = Counter(
            "processor_decode_errors_total", "Records refused while decoding", registry=registry
        )
        self.dead_letters = Counter(
            "processor_dead_letters_total",
            "Records moved to the dead letters, by reason",
            ["reason"],
            registry=registry,
        )
        self.acks = Counter("processor_acks_total", "Records acknowledged to the stream", registry=registry)
        self.distribution_lag = Gauge(
            "processor_distribution_lag",
            "Records of the plain stream that this worker has still to distribute; NaN = unknown",
            registry=registry,
        )
        self.distributed = Counter(
            "processor_distributed_records_total",
            "Records moved from the plain stream to the partitions of their devices",
            registry=registry,
        )

        self.distribution_restarts = Counter(
            "processor_distribution_restarts_total",
            "Times that the plain stream was deleted and is distributed from its beginning, its ids being lower",
            registry=registry,
        )

    def _add_writing(self, registry: CollectorRegistry) -> None:
        self.position_writes = Counter(
            "processor_position_writes_total",
            "Positions given to the database, by outcome",
            ["status"],
            registry=registry,
        )
        self.faulty_positions = Counter(
            "processor_faulty_positions_total",
            "Positions stored as faulty and not shown, by reason",
            ["reason"],
            registry=registry,
        )
        self.writes_in_trouble = Gauge(
            "processor_writes_in_trouble",
            "Statements that the database does not take and that are tried row by row",
            registry=registry,
        )
        self.position_write_duration = Histogram(
            "processor_position_write_duration_seconds",
            "Duration of one INSERT of a batch",
            buckets=WRITE_BUCKETS,
            registry=registry,
        )
        self.retries = Counter(
            "processor_retries_total",
            "Operations tried again after a failure",
            ["operation"],
            registry=registry,
        )
        self.device_state_size = Gauge("processor_device_state_size", "Devices whose state is held", registry=registry)
        self.state_conflicts = Counter(
            "processor_state_conflicts_total",
            "Commits refused because the stored state is not what they were computed from; it is loaded again",
            registry=registry,
        )
        self.device_state_evictions = Counter(
            "processor_device_state_evictions_total",
            "Devices dropped at DEVICE_STATE_LRU_CAP",
            registry=registry,
        )

    def _add_live_clients(self, registry: CollectorRegistry) -> None:
        self.live_connections = Gauge("processor_live_connections", "Open WebSocket connections", registry=registry)
        self.live_subscriptions = Gauge(
            "processor_live_subscriptions", "Subscriptions of all connections", registry=registry
        )
        self.live_refused = Counter(
            "processor_live_refused_total",
            "Connections refused, being more than allowed: of all, of an address, of a user, or waiting for a request",
            ["reason"],
            registry=registry,
        )
        self.live_frames = Counter(
            "processor_live_frames_total",
            "Positions for clients: sent, or conflated (replaced by a newer one)",
            ["result"],
            registry=registry,
        )
        self.live_orphan_positions = Counter(
            "processor_live_orphan_positions_total",
            "Positions of devices that are in no event",
            registry=registry,
        )
        self.live_late_positions = Counter(
            "processor_live_late_positions_total",
            "Positions not sent because a newer one of their device was",
            registry=registry,
        )
        self.live_slow_clients = Counter(
            "processor_live_slow_clients_total",
            "Connections closed because they stayed behind",
            registry=registry,
        )
        self.live_delivery = Histogram(
            "processor_live_delivery_seconds",
            "From a record's append to the stream to the write to a socket",
            buckets=DELIVERY_BUCKETS,
            registry=registry,
        )

    def _add_live_questions(self, registry: CollectorRegistry) -> None:
        self.live_auth_duration = Histogram(
            "processor_live_auth_duration_seconds",
            "Asking Directus who a client is, by result",
            ["result"],
            buckets=QUESTION_BUCKETS,
            registry=registry,
        )
        self.live_authz_duration = Histogram(
            "processor_live_authz_duration_seconds",
            "Asking Directus whether a client may see an event, by result",
            ["result"],
            buckets=QUESTION_BUCKETS,
            registry=registry,
        )
        self.live_snapshot_duration = Histogram(
            "processor_live_snapshot_duration_seconds",
            "Reading one event's snapshot from the database",
            buckets=QUESTION_BUCKETS,
            registry=registry,
        )
        self.live_history_duration = Histogram(
            "processor_live_history_duration_seconds",
            "Reading a window of past positions from the database, by result",
            ["result"],
            buckets=QUESTION_BUCKETS,
            registry=registry,
        )

    def _start_at_zero(self) -> None:
        families: tuple[tuple[Counter | Histogram, tuple[str, ...]], ...] = (
            (self.consumer_reads, READ_RESULTS),
            (self.position_writes, WRITE_STATUSES),
            (self.faulty_positions, quality.REASONS),
            (self.retries, RETRIED_OPERATIONS),
            (self.live_refused, REFUSED_REASONS),
            (self.live_frames, FRAME_RESULTS),
            (self.live_auth_duration, AUTH_RESULTS),
            (self.live_authz_duration, AUTHZ_RESULTS),
            (self.live_history_duration, HISTORY_RESULTS),
        )
        for family, values in families:
            for value in values:
                family.labels(value)
