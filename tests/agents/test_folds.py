"""The computations and their tables."""

from tables.folds import FOLDS
from telemetry_app.assembly.partitions import TABLES


def test_every_table_moves_with_its_partitions() -> None:
    """The tables that move when the number of partitions changes are those of the folds."""
    assert [fold.table.name for fold in FOLDS] == list(TABLES)  # type: ignore[attr-defined]  # of Faust's table
