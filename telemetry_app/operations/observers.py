"""Adapters from what the transport and the two sides report to the metrics."""

from __future__ import annotations

from collections import Counter
from math import nan
from typing import TYPE_CHECKING, Final

from telemetry_app.operations.faulty_log import FaultyLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_app.operations.metrics import Metrics


#: The table whose size and evictions are shown.
_DEVICE_STATE: Final = "device_state"


class TransportMetrics:
    """Counts what the Redis transport reports. There is one for a process, since some of it is added up."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        #: What waits in the partitions, and in the plain stream that is distributed to them; None = unknown.
        self._lag: int | None = None
        self._waited_s: float | None = None
        self._undistributed, self._undistributed_for_s = 0, 0.0

    def read(self, result: str) -> None:
        """Count a read."""
        self._metrics.consumer_reads.labels(result).inc()

    def delivered(self, entries: int) -> None:
        """Count records handed to the streams."""
        self._metrics.consumer_records.inc(entries)

    def redelivered(self, entries: int) -> None:
        """Count records delivered again."""
        self._metrics.redeliveries.inc(entries)

    def trimmed(self, entries: int) -> None:
        """Count records that were trimmed away before they were processed."""
        self._metrics.trimmed.inc(entries)

    def acknowledged(self, entries: int) -> None:
        """Count acknowledged records."""
        self._metrics.acks.inc(entries)

    def distributed(self, entries: int) -> None:
        """Count records moved from the plain stream to the partitions."""
        self._metrics.distributed.inc(entries)

    def distribution_restarted(self) -> None:
        """Count a plain stream that was found to be another one."""
        self._metrics.distribution_restarts.inc()

    def dead_lettered(self, reason: str, entries: int) -> None:
        """Count dead letters."""
        self._metrics.dead_letters.labels(reason).inc(entries)

    def partitions_owned(self, partitions: int) -> None:
        """Show the partitions held."""
        self._metrics.partitions_owned.set(partitions)

    def standing_by(self, stands_by: bool) -> None:  # noqa: FBT001 - one fact
        """Show whether this worker stands by."""
        self._metrics.standby.set(int(stands_by))

    def partitions_paused(self, partitions: int) -> None:
        """Show the partitions that are paused."""
        self._metrics.partitions_paused.set(partitions)

    def partitions_unreadable(self, partitions: int) -> None:
        """Show the partitions that cannot be taken."""
        self._metrics.partitions_unreadable.set(partitions)

    def lag(self, entries: int | None) -> None:
        """Show the lag; NaN while nobody knows it."""
        self._lag = entries
        self._metrics.consumer_lag.set(nan if entries is None else entries + self._undistributed)

    def oldest_unread(self, seconds: float | None) -> None:
        """Show how long the oldest unread record has waited; NaN while nobody knows."""
        self._waited_s = seconds
        self._metrics.oldest_unread.set(nan if seconds is None else max(seconds, self._undistributed_for_s))

    def undistributed(self, entries: int | None, waited_s: float) -> None:
        """Show what waits in the plain stream, which is unread, too."""
        self._undistributed, self._undistributed_for_s = entries or 0, waited_s
        self._metrics.distribution_lag.set(nan if entries is None else entries)
        self.lag(self._lag)
        self.oldest_unread(self._waited_s)

    def state_size(self, table: str, keys: int) -> None:
        """Show the number of devices; other tables have no metric."""
        if table == _DEVICE_STATE:
            self._metrics.device_state_size.set(keys)

    def evicted(self, table: str, keys: int) -> None:
        """Count evicted devices."""
        if table == _DEVICE_STATE:
            self._metrics.device_state_evictions.inc(keys)

    def state_conflict(self) -> None:
        """Count a commit that was refused for the state it was computed from."""
        self._metrics.state_conflicts.inc()

    def retried(self, operation: str) -> None:
        """Count a failed try."""
        self._metrics.retries.labels(operation).inc()


class WriteMetrics:
    """Counts what the durable side reports."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._faulty_log = FaultyLog()

    def undecodable(self, records: int) -> None:
        """Count records that could not be decoded."""
        self._metrics.decode_errors.inc(records)

    def inserted(self, rows: int) -> None:
        """Count rows that are new in the database."""
        self._metrics.position_writes.labels("inserted").inc(rows)

    def duplicates(self, rows: int) -> None:
        """Count rows that the database had already."""
        self._metrics.position_writes.labels("duplicate").inc(rows)

    def merged(self, rows: int) -> None:
        """Count rows that added something to stored ones."""
        self._metrics.position_writes.labels("merged").inc(rows)

    def faulty(self, rows: Sequence[tuple[str, str]]) -> None:
        """Count rows that are faulty, and tell of their devices."""
        for reason, number in Counter(reason for _, reason in rows).items():
            self._metrics.faulty_positions.labels(reason).inc(number)
        self._faulty_log.tell(rows)

    def failed(self, rows: int) -> None:
        """Count rows that the database refused."""
        self._metrics.position_writes.labels("failed").inc(rows)

    def duration(self, seconds: float) -> None:
        """Observe the duration of one statement."""
        self._metrics.position_write_duration.observe(seconds)

    def in_trouble(self, batches: int) -> None:
        """Show the statements that fail and are tried row by row."""
        self._metrics.writes_in_trouble.set(batches)

    def retried(self, reason: str) -> None:  # noqa: ARG002 - the log tells the reason
        """Count a failed try."""
        self._metrics.retries.labels("postgres").inc()


class LiveMetrics:
    """Counts what the live side reports."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def connections(self, number: int) -> None:
        """Show the open connections."""
        self._metrics.live_connections.set(number)

    def subscriptions(self, number: int) -> None:
        """Show the subscriptions."""
        self._metrics.live_subscriptions.set(number)

    def frames(self, result: str, number: int) -> None:
        """Count positions sent or left out."""
        self._metrics.live_frames.labels(result).inc(number)

    def orphans(self, positions: int) -> None:
        """Count positions of devices that are in no event."""
        self._metrics.live_orphan_positions.inc(positions)

    def late(self, positions: int) -> None:
        """Count positions that are not newer than one already sent."""
        self._metrics.live_late_positions.inc(positions)

    def refused(self, reason: str) -> None:
        """Count a client for which there was no place."""
        self._metrics.live_refused.labels(reason).inc()

    def slow_client(self) -> None:
        """Count a client that stayed behind."""
        self._metrics.live_slow_clients.inc()

    def delivered(self, seconds: float) -> None:
        """Observe the time from the stream to the sockets."""
        self._metrics.live_delivery.observe(seconds)

    def authentication(self, result: str, seconds: float) -> None:
        """Observe a question who somebody is."""
        self._metrics.live_auth_duration.labels(result).observe(seconds)

    def authorization(self, result: str, seconds: float) -> None:
        """Observe a question what somebody may see."""
        self._metrics.live_authz_duration.labels(result).observe(seconds)

    def history(self, result: str, seconds: float) -> None:
        """Observe the reading of past positions."""
        self._metrics.live_history_duration.labels(result).observe(seconds)

    def snapshot_failed(self) -> None:
        """Count a snapshot that was left empty."""
        self._metrics.retries.labels("snapshot").inc()

    def snapshot(self, seconds: float) -> None:
        """Observe the reading of a snapshot."""
        self._metrics.live_snapshot_duration.observe(seconds)

    def retried(self, operation: str) -> None:
        """Count a failed try."""
        self._metrics.retries.labels(operation).inc()
