"""Writes that end early, and those that should not."""

import pytest

from telemetry_app.core.sink import WriteAbandoned
from tests.app.core.positions.writing import desk, stored, writer_waits, writing
from tests.support.database import session
from tests.support.records import position, positions
from tests.support.waiting import eventually


@pytest.fixture
def url(table_url: str) -> str:
    """A database with the table."""
    return table_url


async def test_stopping_alone_abandons_nothing(url: str) -> None:
    """A database that works gets its batch although the application is stopping."""
    async with desk(url) as it:
        it.stopping.set()
        assert (await it.write(positions(30))).inserted == 30


async def test_a_cancelled_write_leaves_a_usable_pool(url: str) -> None:
    """Cancelling a write drops its connection instead of lending it to the next one."""
    async with session(url) as other, desk(url, size=1) as it:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("LOCK TABLE positions")
        async with writing(it):
            await eventually(lambda: writer_waits(url))
        await transaction.rollback()
        result = await it.write(positions(10))

    assert result.inserted + result.duplicates == 10
    assert await stored(url) == list(range(10))


async def test_a_bad_url_is_no_data_error() -> None:
    """An address that asyncpg cannot make sense of refuses no row."""
    async with desk("postgresql://localhost:port/x") as it:
        it.stopping.set()
        with pytest.raises(WriteAbandoned):
            await it.write([position(0)])

    assert it.observed.rows == {}
