"""Asking for past positions by plain HTTP: the request's parameters, and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from telemetry_app.live.wire.protocol import MAX_TEXT
from telemetry_app.records.quality import epoch_ms

#: Longest time between `from` and `to`. An event that takes longer is asked for day by day.
MAX_WINDOW_MS: Final = 24 * 3_600_000
#: The last millisecond but a few days that both Python and PostgreSQL know by all their names.
_MAX_MS: Final = 253_402_000_000_000
_MAX_STEP_MS: Final = 3_600_000
_MAX_NEWEST: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class BadWindowError(ValueError):
    """The parameters do not name a window; the message says which one is wrong."""


def _time(value: Any) -> Any:
    """Return milliseconds since 1970, given as such or as a time with its zone."""
    if isinstance(value, str) and not value.isdecimal():
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("has no time zone")
        return epoch_ms(moment)
    return value


Time = Annotated[int, BeforeValidator(_time), Field(ge=0, le=_MAX_MS)]


def _count(value: Any) -> Any:
    """Refuse what only Python takes for a number, as 1_000."""
    if isinstance(value, str) and "_" in value:
        raise PydanticCustomError("int_parsing", "Input should be a whole number, in digits alone")
    return value


Count = Annotated[int, BeforeValidator(_count)]


class AskedEvent(BaseModel):
    """The event that a client asks for, by its id."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    event: str = Field(min_length=1, max_length=MAX_TEXT)


class Window(AskedEvent):
    """Which past positions a client asks for: of an event, from one time until before another.

    Attributes:
        first_ms: Parameter `from`.
        end_ms: Parameter `to`.
        step_ms: Parameter `step`: of each device the first position in each of these intervals; 0 = all.
        newest: Of each device only so many, the newest; 0 = all. Does not go with `step`.
    """

    first_ms: Time = Field(alias="from")
    end_ms: Time = Field(alias="to")
    step_ms: Count = Field(0, alias="step", ge=0, le=_MAX_STEP_MS)
    newest: Count = Field(0, ge=0, le=_MAX_NEWEST)

    @property
    def first(self) -> datetime:
        """Timestamp from which on positions are inside; times count to the nearest millisecond."""
        return _before(self.first_ms)

    @property
    def end(self) -> datetime:
        """Timestamp from which on positions are no longer inside."""
        return _before(self.end_ms)


def _before(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms, microseconds=-500)


def parse_window(parameters: Mapping[str, str]) -> Window:
    """Read the parameters of a request.

    Raises:
        BadWindowError: Whatever they are, nothing else.
    """
    try:
        window = Window.model_validate(dict(parameters))
    except (ValidationError, OverflowError) as error:
        raise BadWindowError(_sentence(error)) from None
    if not 0 < window.end_ms - window.first_ms <= MAX_WINDOW_MS:
        raise BadWindowError(f"to: must be after from, by no more than {MAX_WINDOW_MS} ms")
    if window.step_ms and window.newest:
        raise BadWindowError("newest: does not go with step")
    return window


def parse_event(parameters: Mapping[str, str]) -> AskedEvent:
    """Read the parameters of a request that is about a whole event.

    Raises:
        BadWindowError: Whatever they are, nothing else.
    """
    try:
        return AskedEvent.model_validate(dict(parameters))
    except ValidationError as error:
        raise BadWindowError(_sentence(error)) from None


def _sentence(error: ValidationError | OverflowError) -> str:
    if not isinstance(error, ValidationError):
        return "from, to: no such time"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = str(first["loc"][0])
    if name in {"from", "to"} and first["type"] != "missing":
        return f"{name}: must be a time: milliseconds since 1970, or as in 2026-05-02T12:00:00Z"
    return f"{name}: {first['msg']}"


class Track(msgspec.Struct, frozen=True, gc=False):
    """Positions of one device by column, oldest first: `ts` in epoch ms, `speed` in km/h, `course` in degrees."""

    deviceId: str  # noqa: N815 - the protocol's spelling
    ts: list[int]
    lat: list[float]
    lon: list[float]
    speed: list[float]
    course: list[float]


class Past(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The positions of an event from one time until before another, without those that are faulty.

    Attributes:
        event: The id of the event.
        first_ms: As asked, `from` on the wire.
        end_ms: As asked, or where the answer was cut because it would be too large; `to` on the wire.
        step_ms: As asked, `step` on the wire.
        devices: Those that have positions, by id.
        next_ms: `from` of the request that goes on where the answer was cut, `next` on the wire.
    """

    event: str
    first_ms: int = msgspec.field(name="from")
    end_ms: int = msgspec.field(name="to")
    step_ms: int = msgspec.field(name="step")
    devices: list[Track]
    next_ms: int | UnsetType = msgspec.field(name="next", default=UNSET)


def encode(past: Past) -> bytes:
    """Return an answer as JSON, made device by device: in between, a thread that does it lets the others run."""
    tracks = [msgspec.Raw(msgspec.json.encode(track)) for track in past.devices]
    return msgspec.json.encode(msgspec.structs.replace(past, devices=tracks))
