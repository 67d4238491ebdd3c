"""The shape of every line of the log, wherever it comes from."""

import copy
import json
import logging
import logging.config
import re
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from typing import Any

import pytest

from telemetry_app.operations.logging import MAX_EXCEPTION_CHARS, MAX_FIELD_CHARS, logging_config

SETUP = "import logging, logging.config, sys\nfrom telemetry_app.operations.logging import logging_config\n"


def run(code: str, *, setup: str = "logging.config.dictConfig(logging_config('info', 'json'))") -> str:
    """Run code in a process of its own, whose logging is set up, and return what came out on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", f"{SETUP}{setup}\n{textwrap.dedent(code)}"], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr


def lines(code: str, **kwargs: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(code, **kwargs).splitlines()]


def test_a_line() -> None:
    """A line is one JSON object: time in UTC, level, logger, event, then the extras as they are."""
    (line,) = lines("logging.getLogger('a.b').warning('took %d s', 3, extra={'rows': 7, 'ids': ['x', 1], 'ok': True})")
    stamp = datetime.fromisoformat(line.pop("timestamp"))
    assert stamp.tzinfo == UTC
    assert abs((datetime.now(UTC) - stamp).total_seconds()) < 60
    assert line == {
        "level": "warning", "logger": "a.b", "event": "took 3 s", "rows": 7, "ids": ["x", 1], "ok": True,
    }  # fmt: skip


def test_extras_replace_nothing() -> None:
    """An extra that is named like a field of every line stands beside it."""
    (line,) = lines("logging.getLogger('a').info('said', extra={'event': 1, 'level': 2, 'timestamp': 3, 'logger': 4})")
    assert (line["event"], line["level"], line["logger"]) == ("said", "info", "a")
    assert [line[f"extra_{name}"] for name in ("event", "level", "timestamp", "logger")] == [1, 2, 3, 4]


def test_what_json_has_no_form_for() -> None:
    """Objects become text, numbers that JSON lacks too, and the line stays valid JSON."""
    (line,) = lines(
        "logging.getLogger('a').info('x', extra={'n': float('nan'), 'o': object, 'b': b'q', 'd': {1: {2: set()}}})"
    )
    assert (line["n"], line["o"], line["b"], line["d"]) == ("nan", "<class 'object'>", "b'q'", {"1": {"2": []}})


def test_exceptions_stand_in_the_line_and_are_bounded() -> None:
    """A traceback is a field, and one of any length keeps its two ends."""
    code = """
    def fail(depth, text):
        raise ValueError(text + 'THE END')
    for text in ('', 'x' * 100_000):
        try:
            fail(0, text)
        except ValueError:
            logging.getLogger('a').exception('failed')
    """
    short, long = lines(code)
    assert short["event"] == "failed"
    assert short["exception"].startswith("Traceback (most recent call last):")
    assert short["exception"].endswith("ValueError: THE END")
    assert len(long["exception"]) < MAX_EXCEPTION_CHARS + 100
    assert long["exception"].startswith("Traceback")
    assert long["exception"].endswith("THE END")


def test_long_fields_are_cut() -> None:
    """One field cannot fill the disk."""
    (line,) = lines("logging.getLogger('a').info('x', extra={'long': 'y' * 1_000_000})")
    assert len(line["long"]) == MAX_FIELD_CHARS + 1


def test_passwords_are_masked_everywhere() -> None:
    """No password of a URL comes out: not in messages, extras at any depth, objects or tracebacks."""
    code = """
    url = 'redis://user:secret@host:1/0'
    class Thing:
        def __repr__(self):
            return f'<Thing {url}>'
    try:
        raise OSError(url)
    except OSError:
        logging.getLogger('a').exception('to %s', url, extra={'u': url, 'd': {'l': [url]}, 't': Thing(), url: 1})
    """
    output = run(code)
    assert "secret" not in output
    line = json.loads(output)
    assert line["event"] == "to redis://user:***@host:1/0"
    assert line["d"] == {"l": ["redis://user:***@host:1/0"]}
    assert line["t"] == "<Thing redis://user:***@host:1/0>"


def test_print_and_faust_through_a_real_worker() -> None:
    """Under mode's worker, Faust's own base, its lines and `print` come out like all others, whatever its level."""
    service = """
    import signal, os, mode
    from mode.worker import Worker
    class Job(mode.Service):
        async def on_started(self):
            print('printed 100%s')
            print('to stderr', file=sys.stderr)
            logging.getLogger('ours').info('logged')
            os.kill(os.getpid(), signal.SIGTERM)
    try:
        Worker(Job(), logging_config=logging_config('info', 'json'), loglevel='WARN').execute_from_commandline()
    except SystemExit as exit:
        assert not exit.code
    """
    found = lines(service, setup="")
    events = {(line["logger"], line["event"]) for line in found}
    assert {("mode.redirect", "printed 100%s"), ("mode.redirect", "to stderr"), ("ours", "logged")} <= events
    assert not any(event.startswith("[^") for _, event in events)
    assert all({"timestamp", "level", "logger", "event"} <= set(line) for line in found)


SERVICES = """
    import mode
    class Ours(mode.Service):
        logger = logging.getLogger('telemetry_app.ours')
    ours = Ours()
    ours.log.info('Starting...')
    ours.log.warning('slow')
    logging.getLogger('faust.tables.recovery').info('Resuming flow')
    logging.getLogger('faust.tables.recovery').error('broken')
    logging.getLogger('telemetry_app.ours').info('working')
"""


def test_what_services_say_of_themselves_is_for_debugging() -> None:
    """At info neither Faust's lines nor those of services come out, their warnings and errors do."""
    found = [(line["level"], line["event"]) for line in lines(SERVICES)]
    assert found == [("warning", "[^Ours]: slow"), ("error", "broken"), ("info", "working")]


@pytest.mark.parametrize(("level", "shown"), [("info", False), ("debug", True)])
@pytest.mark.parametrize(("error", "for_people"), [("Misconfigured", True), ("PartitionLost", False)])
def test_a_service_that_only_people_can_help(level: str, shown: bool, error: str, for_people: bool) -> None:  # noqa: FBT001 - of the cases
    """Its end is one sentence, where it was raised is shown at debug only; every other end has its traceback."""
    code = f"""
    import asyncio, mode
    from faust_redis.redis.errors import {error} as Refused
    class Ours(mode.Service):
        logger = logging.getLogger('telemetry_app.ours')
        @mode.Service.task
        async def _work(self):
            raise Refused('no such thing')
    async def main():
        async with Ours() as ours:
            await ours.wait_until_stopped()
    asyncio.run(main())
    """
    found = lines(code, setup=f"logging.config.dictConfig(logging_config({level!r}, 'json'))")
    (ended,) = [line for line in found if line["level"] == "error"]
    assert ended["event"].endswith("no such thing") == (for_people and not shown)
    assert ("exception" in ended) == (shown or not for_people)


def test_debug_shows_what_services_say_of_themselves() -> None:
    """At debug nothing is left out, and services' lines have that level."""
    found = lines(SERVICES, setup="logging.config.dictConfig(logging_config('debug', 'json'))")
    assert [(line["level"], line["event"]) for line in found if line["logger"] != "asyncio"] == [
        ("debug", "[^Ours]: Starting..."), ("warning", "[^Ours]: slow"), ("debug", "Resuming flow"),
        ("error", "broken"), ("info", "working"),
    ]  # fmt: skip


def test_libraries_that_log_through_structlog() -> None:
    """A structlog logger, such as stamina's, comes out once and in the same shape."""
    (line,) = lines("import structlog; structlog.get_logger('stamina').warning('retry', attempt=2, args=())")
    del line["timestamp"]
    assert line == {"level": "warning", "logger": "stamina", "event": "retry", "attempt": 2, "extra_args": []}


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning"]),
        ("INFO", ["info", "warning"]),
        ("warning", ["warning"]),
        ("critical", []),
    ],
)
def test_levels(level: str, expected: list[str]) -> None:
    """What is less severe than the level is not logged."""
    code = "logger = logging.getLogger('a'); logger.debug('x'); logger.info('x'); logger.warning('x')"
    found = lines(code, setup=f"logging.config.dictConfig(logging_config({level!r}, 'json'))")
    assert [line["level"] for line in found] == expected


def test_chatty_libraries() -> None:
    """At debug level asyncio's callbacks and each HTTP request stay out."""
    code = """
    logging.getLogger('asyncio').debug('x')
    logging.getLogger('asyncio').info('y')
    logging.getLogger('aiohttp.access').info('z')
    """
    found = lines(code, setup="logging.config.dictConfig(logging_config('debug', 'json'))")
    assert [line["event"] for line in found] == ["y"]


def test_pretty() -> None:
    """For people a line is text, without colours where there is no terminal, and as safe as JSON."""
    output = run(
        "logging.getLogger('a').error('to redis://u:secret@h', extra={'rows': 7})",
        setup="logging.config.dictConfig(logging_config('info', 'pretty'))",
    )
    assert re.match(r"\d{4}-\d\d-\d\dT\S+ \[error +\] to redis://u:\*\*\*@h +\[a\] rows=7\n$", output)


def test_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the level has a colour."""
    monkeypatch.setattr(sys.__stderr__, "isatty", lambda: True, raising=False)
    make = logging_config("info", "pretty")["formatters"]["telemetry"]
    line = make["()"](make["shape"]).format(logging.makeLogRecord({"msg": "hello", "levelname": "INFO"}))
    assert "\x1b[" in line
    assert "hello" in line


def test_the_configuration_is_new_each_time() -> None:
    """Mode takes keys out of the configuration it is given; the next one has them again."""
    first = logging_config("info", "json")
    kept = copy.deepcopy(first)
    first.clear()
    assert logging_config("info", "json") == kept
