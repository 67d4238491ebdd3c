"""What the log says of faulty positions."""

import pytest

from telemetry_app.operations import faulty_log
from telemetry_app.operations.faulty_log import FaultyLog


def test_one_line_for_each_device_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    """However many positions there are; the line says whose and why."""
    log = FaultyLog()
    for _ in range(3):
        log.tell([("a", "ahead"), ("a", "ahead"), ("b", "ahead"), ("a", "null-island")])
    ahead = "stored as faulty (ahead) and not shown: its clock is ahead of the time at which they arrive"
    no_fix = "stored as faulty (null-island) and not shown: at 0/0 without satellites: no fix since it was started"
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"positions of device a are {ahead}",
        f"positions of device a are {no_fix}",
        f"positions of device b are {ahead}",
    ]


def test_it_is_bounded(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more devices than are remembered there are no lines, so that none is told of again and again."""
    monkeypatch.setattr(faulty_log, "_MOST", 2)
    log = FaultyLog()
    for _ in range(2):
        log.tell([(device, "ahead") for device in "abc"])
    assert len(caplog.records) == 2


def test_after_a_while_it_is_said_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is faulty still, or again."""
    monkeypatch.setattr(faulty_log, "_SAY_AGAIN_AFTER_S", 0.0)
    log = FaultyLog()
    log.tell([("a", "ahead")])
    log.tell([("a", "ahead")])
    assert len(caplog.records) == 2


def test_a_device_writes_no_lines(caplog: pytest.LogCaptureFixture) -> None:
    """An id is shown as it is unless it is long or has what a terminal acts on."""
    FaultyLog().tell([("Gerät 7", "ahead"), ("a\n\x1b[31mb", "ahead"), ("x" * 5000, "ahead")])
    said = sorted(record.getMessage().removeprefix("positions of device ") for record in caplog.records)
    assert [line.partition(" are stored")[0] for line in said] == [r"'a\n\x1b[31mb'", f"'{'x' * 100}'", "Gerät 7"]
