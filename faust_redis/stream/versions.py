"""Which version of a partition's tables memory holds, and which one is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Field of a state hash that holds its version. Keys of a table do not begin with a NUL byte, other fields do.
FIELD: Final = b"\x00version"
#: How the fields of a hash begin that are not keys of its table.
NOT_A_KEY: Final = b"\x00"
#: Version of a hash without that field: a new one, or one that an earlier release has written.
UNVERSIONED: Final = b""


class Step(NamedTuple):
    """What one batch does to one table: from the version that it was computed from to the one that it makes."""

    before: bytes
    after: bytes


class Versions:
    """Versions of the tables of one partition, for as long as this worker holds it.

    Every batch that changes a table is one step to a version of its own. A commit names its steps, and Redis refuses
    it when what is stored is not what they begin with. So it cannot go unnoticed that memory holds the changes of a
    batch that was never stored, or lacks those of one that was.

    A version is a number, for people, and the name of the batch: lease and offset, which no other batch has.

    Attributes:
        parted: Tables whose memory is not, and will not become, what is stored: they must be loaded again.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._memory: dict[str, bytes] = {}
        self._stored: dict[str, bytes] = {}
        self.parted: set[str] = set()

    def must_load(self, table: str) -> bool:
        """Tell whether a table's memory is not to be used."""
        return table in self.parted or table not in self._stored

    def loaded(self, table: str, version: bytes) -> None:
        """Take note of the version that memory was loaded from."""
        self._memory[table] = self._stored[table] = version
        self.parted.discard(table)

    def step(self, table: str, offset: int) -> Step:
        """Return the step of a batch that changes a table in memory now."""
        before = self._memory.get(table, UNVERSIONED)
        number, _, _ = before.partition(b" ")
        after = b"%d %b/%d" % (int(number) + 1 if number.isdigit() else 1, self._token, offset)
        self._memory[table] = after
        return Step(before, after)

    def committed(self, steps: Mapping[str, Step]) -> None:
        """Take note that the steps of a batch are stored."""
        for table, step in steps.items():
            self._stored[table] = step.after

    def compare(self, expected: Iterable[Mapping[str, Step]]) -> None:
        """Find the tables whose memory holds more than what is stored and the steps that are still to be stored."""
        reached = dict(self._stored)
        for steps in expected:
            reached.update((table, step.after) for table, step in steps.items())
        self.parted.update(table for table, version in self._memory.items() if version != reached.get(table))
