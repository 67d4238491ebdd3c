"""How arrays are given to asyncpg."""

from collections.abc import Iterable
from typing import Any

import asyncpg
import pytest
from asyncpg.protocol import protocol

from telemetry_app.database.arrays import take_only_lists_for_arrays
from telemetry_app.database.postgres import Postgres


class Curious(type):
    """Class of classes that count how often one asks whether something is their instance."""

    asked = 0

    def __instancecheck__(cls, instance: object) -> bool:
        Curious.asked += 1
        return isinstance(instance, Iterable)


class CountedIterable(metaclass=Curious):
    """Stands in for asyncpg's abstract class."""


@pytest.fixture
def asyncpgs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let asyncpg begin with its abstract class, and have back at the end what it had."""
    monkeypatch.setattr(protocol, "IterableABC", Iterable)


@pytest.fixture
async def connection(postgres_url: str) -> Any:
    """A connection of its own, closed at the end."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def test_asyncpg_asks_by_the_name_we_know(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary: asyncpg asks of every element what stands at this private name. If not, arrays only cost more."""
    monkeypatch.setattr(protocol, "IterableABC", CountedIterable)
    Curious.asked = 0
    assert await connection.fetchval("SELECT cardinality($1::float8[])", [0.5] * 100) == 100
    assert Curious.asked >= 100


@pytest.mark.usefixtures("asyncpgs_own")
@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("float8[]", [0.5, -1e300, 3.0]),
        ("int2[]", [32_767, -32_768]),
        ("text[]", ["a", None, "", '{"b":"c,\\"d"}', "é"]),
        ("int4[]", []),
        ("int4[]", [[1, 2], [3, 4]]),
    ],
)
async def test_arrays_are_what_they_were(connection: Any, kind: str, array: list[Any]) -> None:
    """Lists come back from the server as they were given, nested ones included."""
    take_only_lists_for_arrays()
    assert vars(protocol)["IterableABC"] is list
    assert await connection.fetchval(f"SELECT $1::{kind}", array) == array


@pytest.mark.usefixtures("asyncpgs_own")
@pytest.mark.parametrize("array", [[40_000], ["1"], (1,), {1}, "1", 1])
async def test_what_is_no_array_is_refused(connection: Any, array: Any) -> None:
    """An element that does not fit is refused before it is sent, by the number of its argument; so is a tuple."""
    take_only_lists_for_arrays()
    with pytest.raises(asyncpg.DataError, match=r"invalid input for query argument \$2: "):
        await connection.fetchval("SELECT $1::text || $2::int2[]::text", "", array)


@pytest.mark.usefixtures("asyncpgs_own")
async def test_a_pool_takes_only_lists() -> None:
    """A pool that starts, which needs no server, has its arrays encoded the quick way."""
    async with Postgres("postgresql://localhost:1/nowhere", size=1):
        assert vars(protocol)["IterableABC"] is list


def test_a_missing_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """An asyncpg that no longer has the name is left as it is."""
    monkeypatch.delattr(protocol, "IterableABC")
    take_only_lists_for_arrays()
    assert not hasattr(protocol, "IterableABC")
