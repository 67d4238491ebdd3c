"""What an application may set on the transport."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faust_redis.observer import NullObserver, Observer

if TYPE_CHECKING:
    from faust.types import AppT


def _instance_id() -> str:
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class Pacing:
    """When records gather a little before they are read, so that few batches carry many.

    A batch of four costs almost what one of a hundred does, and on a small machine what the database spends on it is
    taken from everything else. A record that comes alone, longer than `gather_s` after the one before it, is read at
    once, and so is a backlog as soon as two reads running have brought a full batch.

    Attributes:
        gather_s: How long the next read waits after one that brought no batch that is full enough, or nothing of some
            of the partitions.
        full_enough: Share of the batch size from which on a batch is.
    """

    gather_s: float = 0.075
    full_enough: float = 0.25


@dataclass(frozen=True)
class Retention:
    """How much of a stream stays when it is trimmed: all that a group has not acknowledged, and one of these.

    Attributes:
        entries: The newest ones, so many of them; 0 = it goes by age.
        age_ms: Those that are not older.
    """

    entries: int = 0
    age_ms: int = 0


@dataclass(frozen=True)
class RedisOptions:
    """Settings of the Redis transport; an application takes them as `App(…, redis_options=…)`.

    Attributes:
        instance_id: Name of this process among the workers and of its consumer in the groups; unique.
        batch_size: Most entries of one read, that is of one Faust event.
        batch_bytes: Most bytes of one Faust event, unless a single entry is larger.
        block_ms: How long a read waits for the first entry.
        lease_ttl_ms: After how long without renewal a partition may be taken over.
        dead_letter_after: Deliveries after which a refused entry goes to the dead letters.
        dead_letter_max_share: When more than this share of a partition's last 1,000 entries was refused, reading of
            it pauses; 1 = never.
        removes_committed: Whether entries leave their stream when they are committed.
        retention: What stays of streams from which they do not; None = these are never trimmed.
        spared_groups: Groups whose names begin so keep no entry from being removed, such as those of broadcasts.
        redeliver_after_ms: Idle time after which a pending entry that nobody works on is delivered again.
        drain_timeout_s: How long a worker that stops or gives a partition away waits for batches in flight before it
            leaves them pending.
        lag_interval_s: How often the group's lag is sampled.
        pacing: When records gather before they are read.
        observer: What the transport reports to.
        partitions_setting: What the application's number of partitions is called where people set it.
        partitions_command: What changes the number in Redis, when the number follows it.
        resume_command: What lets reading go on of partitions that are paused.
        producer: How records come to the partitions, in the application's word: workers of several partitions that
            have another word than Redis refuse to start; empty = nobody compares.
        producer_setting: What that is called where people set it.
    """

    instance_id: str = field(default_factory=_instance_id)
    batch_size: int = 1000
    batch_bytes: int = 2 << 20
    block_ms: int = 100
    lease_ttl_ms: int = 5000
    dead_letter_after: int = 5
    dead_letter_max_share: float = 0.5
    removes_committed: bool = False
    retention: Retention | None = None
    spared_groups: str = ""
    redeliver_after_ms: int = 30_000
    drain_timeout_s: float = 7.0
    lag_interval_s: float = 10.0
    pacing: Pacing = field(default_factory=Pacing)
    observer: Observer = field(default_factory=NullObserver)
    partitions_setting: str = "partitions"
    partitions_command: str = "faust_redis.Repartitioning"
    resume_command: str = "faust_redis.group.pauses.resume"
    producer: str = ""
    producer_setting: str = "producer"

    @classmethod
    def of(cls, app: AppT) -> RedisOptions:
        """Return the options of an application."""
        options: RedisOptions = app.redis_options  # type: ignore[attr-defined]  # of our App, which the transport demands
        return options
