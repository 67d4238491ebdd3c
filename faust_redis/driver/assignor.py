"""The partition assignor that Faust asks what was assigned; leases have decided already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faust.types.assignor import HostToPartitionMap, PartitionAssignorT

if TYPE_CHECKING:
    from faust.types import TP, AppT
    from yarl import URL


class LeaseAssignor(PartitionAssignorT):
    """Reports the partitions whose lease the consumer holds. There are no standbys and no changelog partitions."""

    def __init__(self, app: AppT, replicas: int = 0) -> None:
        self.app = app
        self.replicas = replicas

    def group_for_topic(self, topic: str) -> int:  # noqa: ARG002 - Faust's signature
        """Return 0: all topics belong to one group."""
        return 0

    def assigned_standbys(self) -> set[TP]:
        """Return nothing: a table's state is in Redis, nobody keeps it warm."""
        return set()

    def assigned_actives(self) -> set[TP]:
        """Return the partitions held."""
        return self.app.consumer.assignment()

    def is_active(self, tp: TP) -> bool:
        """Tell whether a partition is held."""
        return tp in self.assigned_actives()

    def is_standby(self, tp: TP) -> bool:  # noqa: ARG002 - Faust's signature
        """Return False: there are no standbys."""
        return False

    def key_store(self, topic: str, key: bytes) -> URL:  # noqa: ARG002 - Faust's signature
        """Return this worker: requests are not routed between workers."""
        return self.app.conf.canonical_url

    def table_metadata(self, topic: str) -> HostToPartitionMap:  # noqa: ARG002 - Faust's signature
        """Return nothing: requests are not routed between workers."""
        return {}

    def tables_metadata(self) -> HostToPartitionMap:
        """Return nothing: requests are not routed between workers."""
        return {}
