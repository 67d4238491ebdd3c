import pytest

from telemetry_app.live.positions.event_ids import can_be_an_event_id

UUID = "d3ea7953-f19e-4907-ba9d-b95ba130412e"
NO_NUMBERS = [
    "",
    "007",
    "+7",
    "-0",
    "7.0",
    "7e0",
    "0x7",
    "7_0",
    " 7",
    "7 ",
    "7\n",
    "\uff17",
    "\u0667",
    "²",
    "NaN",
    "x" * 300,
    "9" * 300,
]


@pytest.mark.parametrize(
    ("column_type", "largest"), [("smallint", 2**15 - 1), ("integer", 2**31 - 1), ("bigint", 2**63 - 1)]
)
def test_numbers(column_type: str, largest: int) -> None:
    """A numbered event has one spelling, and a number that its column can hold."""
    numbers = ["0", "7", "-7", str(largest), str(-largest - 1)]
    beyond = [str(largest + 1), str(-largest - 2), "99999999999999999999"]
    assert [text for text in numbers + beyond + NO_NUMBERS if can_be_an_event_id(text, column_type)] == numbers


def test_uuids() -> None:
    """A UUID is spelled as PostgreSQL does it, in small letters and with hyphens only."""
    others = [UUID.upper(), f"{{{UUID}}}", UUID.replace("-", ""), f"urn:uuid:{UUID}", f"{UUID}\n", f"{UUID}0", "7", ""]
    assert [text for text in [UUID, *others] if can_be_an_event_id(text, "uuid")] == [UUID]


@pytest.mark.parametrize("column_type", [None, "text", "character varying"])
def test_texts(column_type: str | None) -> None:
    """Where ids are texts, or it is not known what they are, every text can be one."""
    assert all(can_be_an_event_id(text, column_type) for text in [UUID, UUID.upper(), *NO_NUMBERS])
