"""A partition while this worker owns it."""

from __future__ import annotations

import asyncio
import math
import time

from faust_redis.redis.replies import BEFORE_ALL
from faust_redis.stream.ledger import Ledger
from faust_redis.stream.progress import Tally
from faust_redis.stream.refusals import Refusals

#: Topic and number of a partition; what Faust calls a TP is one.
TopicPartition = tuple[str, int]


class ClaimPass:
    """One walk over the pending entries of a group, page by page.

    Attributes:
        min_idle_ms: Only entries that nobody has touched for so long are claimed.
        cursor: Where the next page begins; None after the last one.
        ids: What is left of the page before.
    """

    __slots__ = ("cursor", "ids", "min_idle_ms")

    def __init__(self, min_idle_ms: int) -> None:
        self.min_idle_ms = min_idle_ms
        self.cursor: bytes | None = b"0-0"
        self.ids: list[bytes] = []


class Partition:
    """What a worker keeps for one partition that it owns.

    Attributes:
        tp: Topic and number.
        stream: Key of its stream.
        token: Fencing token of the lease.
        ledger: Batches in flight.
        tally: What became of the entries that were appended.
        refusals: How many of the last records were refused.
        paused: Whether nothing is read because those were too many; what is refused stays pending meanwhile.
        refused: Why Redis refuses the commit of the oldest batch, if it does, until somebody mends something.
        commit_again_s: Not before then is it tried again, by `time.monotonic`.
        read_until: The last new entry that was read: others come after it, or the group is not what it was.
        open: Whether batches may be delivered: tables are loaded, and nobody waits for the partition to come to rest.
        claiming: The walk over pending entries that comes before the next new entries, if one is wanted.
        lost: Set when the lease is known to be gone: nothing is read or committed any more.
        leased_until_s: When the lease ends unless it is renewed, by `time.monotonic`.
        committing: Held during a commit: there is one at a time.
    """

    def __init__(self, tp: TopicPartition, stream: str, token: str) -> None:
        self.tp = tp
        self.stream = stream
        self.token = token
        self.ledger = Ledger(token)
        self.tally = Tally()
        self.refusals = Refusals()
        self.paused = False
        self.refused: str | None = None
        self.commit_again_s = 0.0
        self.read_until = BEFORE_ALL
        self.open = False
        self.claiming: ClaimPass | None = ClaimPass(min_idle_ms=0)
        self.lost = False
        self.leased_until_s = math.inf
        self.committing = asyncio.Lock()

    @property
    def parted(self) -> bool:
        """Whether a table in memory is not what is stored, so that it must be loaded again."""
        return bool(self.ledger.versions.parted)

    @property
    def readable(self) -> bool:
        """Whether entries may be read.

        Not while a table must be loaded, or batches cannot be committed, or the partition is about to leave. Nor after
        a pause longer than the lease, although nobody has said yet that it is gone: somebody else may own the
        partition, and what is read here would be pending here.
        """
        if not self.open or self.lost or self.parted or self.paused or self.refused:
            return False
        return time.monotonic() < self.leased_until_s

    def start_over(self) -> None:
        """Forget what is in flight and read the pending entries again, then new ones."""
        self.ledger.start_over()
        self.claim_again()

    def claim_again(self) -> None:
        """Look for every pending entry that is not in flight here: a reply with some may have been lost."""
        self.claiming = ClaimPass(min_idle_ms=0)

    def claim_idle(self, min_idle_ms: int) -> None:
        """Look for pending entries that nobody works on, unless a walk is under way already."""
        if self.claiming is None:
            self.claiming = ClaimPass(min_idle_ms)
