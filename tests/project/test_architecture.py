"""The picture of the house in docs/architecture.md, the import contracts and the folders say the same."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSES = ("telemetry_app", "telemetry_app.live", "faust_redis")
#: Folders with Python in them that are no part of the product.
NOT_OURS = {"tests", "docs", "webmap"}


def contracts() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


def lines_of(contract: configparser.SectionProxy, option: str) -> list[str]:
    return contract.get(option, "").split("\n")[1:]


def layers_of(contract: configparser.SectionProxy) -> list[set[str]]:
    """Return the floors of a contract from the top, each as the rooms on it."""
    return [{room.strip() for room in line.split("|")} for line in lines_of(contract, "layers")]


def exhaustive() -> dict[str, configparser.SectionProxy]:
    """Return the exhaustive contracts by the package that they are about."""
    parser = contracts()
    found = [parser[name] for name in parser.sections() if parser[name].get("exhaustive") == "True"]
    return {container: contract for contract in found for container in lines_of(contract, "containers")}


def drawn(house: str) -> list[set[str]]:
    """Return the floors of a picture from the top."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    match = re.search(rf"<!-- house: {re.escape(house)} -->\n```text\n(.*?)```", text, re.DOTALL)
    assert match is not None, f"there is no picture of {house}"
    floors = [re.match(r"│(.*)│  \S", line) for line in match[1].splitlines()]
    return [{room.strip() for room in floor[1].split("│")} for floor in floors if floor]


def expected(house: str) -> list[set[str]]:
    inner = layers_of(exhaustive()[house])
    if house != "telemetry_app":
        return inner
    # The picture shows the floors above and below the package too; SQL files and the entry point are no rooms.
    outer = [floor - {"migrations"} for floor in layers_of(contracts()["importlinter:contract:storeys"])]
    at = outer.index({"telemetry_app"})
    return [*outer[:at], *(floor for floor in inner if floor != {"__main__"}), *outer[at + 1 :]]


@pytest.mark.parametrize("house", HOUSES)
def test_the_picture_is_the_contract(house: str) -> None:
    """Each picture has the floors and rooms of its import contract, in the same order."""
    assert drawn(house) == expected(house)


def test_every_package_has_its_place() -> None:
    """Each package at the root stands in the contract of the storeys."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - NOT_OURS
    storeys = layers_of(contracts()["importlinter:contract:storeys"])
    assert packages == {room for floor in storeys for room in floor}, "give it a floor in the first contract"
    assert packages == set(lines_of(contracts()["importlinter"], "root_packages")), "name it in root_packages"


def test_every_package_with_rooms_has_an_exhaustive_contract() -> None:
    """A package that holds packages says in a contract how they may import each other, and no new one is forgotten."""
    roots = lines_of(contracts()["importlinter"], "root_packages")
    packages = [path.parent for root in roots for path in (ROOT / root).glob("*/**/__init__.py")]
    with_rooms = {".".join(package.parent.relative_to(ROOT).parts) for package in packages}
    assert with_rooms == set(exhaustive()), "give it a contract of its own in .importlinter, such as the one of live"


def test_no_contract_has_exceptions() -> None:
    """No import is excused."""
    parser = contracts()
    assert [name for name in parser.sections() if "ignore_imports" in parser[name]] == []
