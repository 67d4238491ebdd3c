import json
import logging
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

from faust_redis.redis.errors import Misconfigured
from telemetry_app.redaction import redact_url

# Enough for the whole of an ordinary traceback; what matters stands at its two ends.
MAX_EXCEPTION_CHARS: Final = 8000
# A field that is longer was not meant to be read, and one line must not fill a disk.
MAX_FIELD_CHARS: Final = 16_000
MAX_FIELD_DEPTH: Final = 6

# What every record has, so that whatever else it has came in by `extra`.
_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# One line per request or per callback, at levels one has switched on for other reasons.
_CHATTY: Final = {"asyncio": "INFO", "aiohttp.access": "WARNING"}
# What Faust and Mode log at info speaks of their own services: a line for each that starts and each that stops. What
# a program prints comes out under a name of Mode's too.
_SERVICE_LOGGERS: Final = ("faust.", "mode.")
_PRINTED: Final = "mode.redirect"
# Mode begins a service's lines with its place in the tree of services, under whatever name that service logs.
_SERVICE_PREFIX: Final = "[^"


def logging_config(level: str, fmt: Literal["json", "pretty"]) -> dict[str, Any]:
    """Return the configuration of all logging of the process, for `logging.config.dictConfig`.

    Everything goes to the real standard error, even after Faust has put a logger in the place of `sys.stderr`.

    Args:
        level: name of the least severe level to log, in any case.
        fmt: `json` for one object a line, `pretty` for people (coloured on a terminal).
    """
    severity = level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"telemetry": {"()": _formatter, "shape": fmt}},
        "filters": {
            "services": {"()": _ServicesAtDebug, "level": severity},
            "sentences": {"()": _SentencesForPeople, "level": severity},
        },
        "handlers": {
            "telemetry": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.__stderr__",
                "formatter": "telemetry",
                "level": severity,
                "filters": ["services", "sentences"],
            },
            "first": {"class": "logging.NullHandler"},
        },
        # Started without `-l`, Faust's worker raises the level of the first handler of the root logger: this one.
        "root": {"level": severity, "handlers": ["first", "telemetry"]},
        "loggers": {name: {"level": _stricter(least, severity)} for name, least in _CHATTY.items()},
    }


class _ServicesAtDebug(logging.Filter):
    """Takes what services log of themselves for messages of level debug; their warnings and errors stay."""

    def __init__(self, level: str) -> None:
        super().__init__()
        self._level = logging.getLevelNamesMapping()[level]

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno == logging.INFO and _is_of_a_service(record):
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return record.levelno >= self._level


class _SentencesForPeople(logging.Filter):
    """Shows a service that ended since only people can mend something as the sentence that says so.

    Where it was raised would only hide that; at debug it is shown.
    """

    def __init__(self, level: str) -> None:
        super().__init__()
        self._shown = logging.getLevelNamesMapping()[level] > logging.DEBUG

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if self._shown and isinstance(error, Misconfigured) and _is_of_a_service(record):
            record.msg, record.args, record.exc_info = str(error), (), None
        return True


def _is_of_a_service(record: logging.LogRecord) -> bool:
    if isinstance(record.msg, str) and record.msg.startswith(_SERVICE_PREFIX):
        return True
    return record.name.startswith(_SERVICE_LOGGERS) and record.name != _PRINTED


def _stricter(one: str, other: str) -> str:
    levels = logging.getLevelNamesMapping()
    return max(one, other, key=levels.__getitem__)


def _formatter(shape: Literal["json", "pretty"]) -> logging.Formatter:
    # Libraries that log through structlog take the standard library's way, and so come out like all others.
    structlog.configure(
        processors=[_sidestep_record_names, structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    render: structlog.typing.Processor = structlog.processors.JSONRenderer(serializer=json.dumps)
    if shape == "pretty":
        colors = sys.__stderr__ is not None and sys.__stderr__.isatty()
        render = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    return structlog.stdlib.ProcessorFormatter(
        processors=[_collect, structlog.processors.format_exc_info, _bound_exception, _clean_fields, render]
    )


def _sidestep_record_names(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Rename fields that a record of the standard library has itself, such as `args`: it raises when given them."""
    return {f"extra_{name}" if name in _OF_EVERY_RECORD else name: value for name, value in event_dict.items()}


def _collect(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Return the fields of a line, those that every line has going first and never replaced by an `extra`."""
    record: logging.LogRecord = event_dict.pop("_record")
    event_dict.pop("_from_structlog")
    fields = {
        "timestamp": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        **event_dict,
    }
    for name, value in vars(record).items():
        if name not in _OF_EVERY_RECORD:
            fields[f"extra_{name}" if name in fields else name] = value
    return fields


def _bound_exception(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    text = event_dict.get("exception")
    if isinstance(text, str) and len(text) > MAX_EXCEPTION_CHARS:
        half = MAX_EXCEPTION_CHARS // 2
        event_dict["exception"] = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return event_dict


def _clean_fields(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Mask passwords, and turn what JSON has no form for into text."""
    return {_clean_text(name): _clean(value, MAX_FIELD_DEPTH) for name, value in event_dict.items()}


def _clean(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and depth:
        return {_clean_text(str(key)): _clean(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_clean(item, depth - 1) for item in value]
    return _clean_text(value if isinstance(value, str) else repr(value))


def _clean_text(text: str) -> str:
    text = redact_url(text)
    return text if len(text) <= MAX_FIELD_CHARS else f"{text[:MAX_FIELD_CHARS]}…"
