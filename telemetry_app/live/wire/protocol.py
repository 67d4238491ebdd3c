"""The frames of the WebSocket: what clients may send, and what they are sent."""

from __future__ import annotations

import enum
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from telemetry_app.live.wire.position import LivePosition

#: Longest cursor that a client may send, and longest id as JSON, in characters.
MAX_TEXT: Final = 255
#: Longest topic. No event has so long an id: one that is too long is not found, as others that no event can have.
_MAX_TOPIC: Final = 1024
_EVENT: Final = "event:"

#: What is told of an entry: fields of Directus as text or numbers.
EntryFields = dict[str, str | int | float]

ErrorCode = Literal["forbidden", "not-found", "unknown-topic", "bad-request", "limit", "error"]
RefusalCode = Literal[
    "no-session",
    "session-ended",
    "session-mode",
    "origin",
    "forbidden",
    "not-found",
    "bad-request",
    "method-not-allowed",
    "address-too-long",
    "full",
    "address-limit",
    "user-limit",
    "starting",
    "unavailable",
    "upgrade-required",
    "headers-too-large",
]


class CloseCode(enum.IntEnum):
    """Why the server ends a connection."""

    SHUTDOWN = 1001
    FRAME_TOO_LARGE = 1009
    SESSION_ENDED = 4401
    SLOW_CLIENT = 4408
    TOO_MANY_REQUESTS = 4429


# --- from the client ---


class _ClientFrame(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    topic: str = Field(min_length=1, max_length=_MAX_TOPIC, description="`event:` and the id of an event")
    id: JsonValue = Field(None, description=f"Handed back with the answer; at most {MAX_TEXT} characters of JSON")


class Subscribe(_ClientFrame):
    """Ask for the positions of an event: a snapshot, or what was missed, and then every new one."""

    type: Literal["subscribe"]
    since: str | None = Field(
        None, max_length=MAX_TEXT, description="Cursor of the last frame of this topic, from whichever worker"
    )
    batch: bool = Field(default=False, description="`true`: positions come as `positions` frames, many in one")


class Unsubscribe(_ClientFrame):
    """Ask for no more positions of an event."""

    type: Literal["unsubscribe"]


ClientFrame = Annotated[Subscribe | Unsubscribe, Field(discriminator="type")]
_client_frame: TypeAdapter[Subscribe | Unsubscribe] = TypeAdapter(ClientFrame)


class Request(msgspec.Struct, frozen=True):
    """A frame that was understood, and its `id` as JSON, if it had one."""

    frame: Subscribe | Unsubscribe
    reference: msgspec.Raw | UnsetType


class BadRequestError(ValueError):
    """The frame is not one of the protocol's; `reference` is its `id` as JSON, if it could be found."""

    def __init__(self, message: str, reference: msgspec.Raw | UnsetType = UNSET) -> None:
        super().__init__(message)
        self.reference = reference


def parse(data: bytes | str) -> Request:
    """Read a frame.

    Raises:
        BadRequestError: Whatever the input, nothing else.
    """
    try:
        frame = _client_frame.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequestError(f"{where or 'frame'}: {first['msg']}"[:MAX_TEXT], _find_reference(data)) from None
    return Request(frame, _reference(frame.id) if "id" in frame.model_fields_set else UNSET)


def event_of(topic: str) -> str | None:
    """Return the event id of a topic; None when it is not a topic of ours."""
    return topic[len(_EVENT) :] or None if topic.startswith(_EVENT) else None


def topic_of(event_id: str) -> str:
    """Return the topic of an event."""
    return _EVENT + event_id


def _reference(value: Any) -> msgspec.Raw:
    """Return an id as it will be handed back; Python's own encoder takes integers of any size."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise BadRequestError("id: cannot be handed back") from None
    if len(text) > MAX_TEXT:
        raise BadRequestError(f"id: has more than {MAX_TEXT} characters")
    return msgspec.Raw(text.encode())


def _find_reference(data: bytes | str) -> msgspec.Raw | UnsetType:
    try:
        value = from_json(data)
        return _reference(value["id"]) if isinstance(value, dict) and "id" in value else UNSET
    except ValueError:
        return UNSET


# --- to the client ---


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a device is; `ts` in epoch ms, `speed` in km/h, `course` in degrees, both left out when 0."""

    deviceId: str  # noqa: N815 - the protocol's spelling
    lat: float
    lon: float
    ts: int
    speed: float | UnsetType = UNSET
    course: float | UnsetType = UNSET


class PositionFrame(msgspec.Struct, frozen=True, gc=False, tag="position"):
    """A position of a device of the event; `cursor` is where to go on after it, empty while devices are still owed."""

    topic: str
    deviceId: str  # noqa: N815 - the protocol's spelling
    lat: float
    lon: float
    ts: int
    cursor: str
    speed: float | UnsetType = UNSET
    course: float | UnsetType = UNSET


class PositionsFrame(msgspec.Struct, frozen=True, gc=False, tag="positions"):
    """Positions of devices of the event, in order, for a subscription with `batch`; `cursor` as with one position."""

    topic: str
    cursor: str
    positions: list[Position]


class Subscribed(msgspec.Struct, frozen=True, tag="subscribed"):
    """The subscription stands, with `batch` as asked for; with `resumed` the missed positions follow as frames.

    So do the devices of an event that is too large for one answer: then `cursor` is empty. It also is with `partial`:
    the database could not be asked, and the devices that are missing follow as frames when it is back. Then, once, a
    `subscribed` with `resumed`, an empty snapshot and a cursor says that nothing is missing any more.

    `entries` tells who a device is: by device id, those fields of its entry that the session may see; left out when
    there are none.
    """

    topic: str
    snapshot: list[Position]
    cursor: str
    id: msgspec.Raw | UnsetType = UNSET
    resumed: Literal[True] | UnsetType = UNSET
    batch: Literal[True] | UnsetType = UNSET
    partial: Literal[True] | UnsetType = UNSET
    entries: dict[str, EntryFields] | UnsetType = UNSET


class Entries(msgspec.Struct, frozen=True, tag="entries"):
    """Who further devices of the event are, as in `subscribed`: what did not fit into that answer, or was not known."""

    topic: str
    entries: dict[str, EntryFields]


class Removed(msgspec.Struct, frozen=True, tag="removed"):
    """A device is not shown any more: it has left the event, or all its positions were found to be faulty."""

    topic: str
    deviceId: str  # noqa: N815 - the protocol's spelling


class Unsubscribed(msgspec.Struct, frozen=True, tag="unsubscribed"):
    """No more positions of this event will follow."""

    topic: str
    id: msgspec.Raw | UnsetType = UNSET


class Error(msgspec.Struct, frozen=True, tag="error"):
    """Something was refused or has ended; with a `topic`, that subscription does not stand.

    Only `error` passes by itself: try again. The other codes stay until something else changes. `forbidden` to a client
    without a session has `signInUrl`, if the server was told where people sign in: connect again when they have.
    """

    code: ErrorCode
    message: str
    topic: str | UnsetType = UNSET
    id: msgspec.Raw | UnsetType = UNSET
    signInUrl: str | UnsetType = UNSET  # noqa: N815 - the protocol's spelling


ServerFrame = PositionFrame | PositionsFrame | Removed | Subscribed | Entries | Unsubscribed | Error


class _Body(Position, frozen=True, gc=False, kw_only=True):
    cursor: str


_CURSOR: Final = b',"cursor":"'
_END: Final = b'"}'

encode = msgspec.json.Encoder().encode


def to_wire(position: LivePosition) -> Position:
    """Return a position as it stands in a snapshot."""
    return Position(
        position.device_id,
        position.lat,
        position.lon,
        position.ts_ms,
        position.speed or UNSET,
        position.course or UNSET,
    )


def subscribed(
    topic: str,
    snapshot: Sequence[LivePosition],
    cursor: str,
    *,
    reference: msgspec.Raw | UnsetType = UNSET,
    resumed: bool = False,
    batch: bool = False,
    partial: bool = False,
    entries: dict[str, EntryFields] | None = None,
) -> bytes:
    """Return the answer to a subscribe."""
    positions = [to_wire(position) for position in snapshot]
    flags = (_if_true(resumed), _if_true(batch), _if_true(partial))
    return encode(Subscribed(topic, positions, cursor, reference, *flags, entries or UNSET))


def _if_true(value: bool) -> Literal[True] | UnsetType:  # noqa: FBT001
    return True if value else UNSET


def position_body(position: LivePosition, cursor: str) -> bytes:
    """Return the part of a position's frame that is the same for every topic: a JSON object without its first brace."""
    return encode(
        _Body(
            deviceId=position.device_id,
            lat=position.lat,
            lon=position.lon,
            ts=position.ts_ms,
            speed=position.speed or UNSET,
            course=position.course or UNSET,
            cursor=cursor,
        )
    )[1:]


def without_cursor(body: bytes, cursor: str) -> bytes:
    """Return a position's body with an empty cursor instead; a cursor comes last and needs no escapes."""
    return body[: -len(cursor) - len(_END)] + _END


def with_mark(body: bytes, mark: bytes) -> bytes:
    """Return a position's body with a longer cursor, see `cursor.mark_of`."""
    return body[: -len(_END)] + mark + _END


def positions_frame(topic: str, bodies: Iterable[tuple[bytes, str]], cursor: str) -> bytes:
    """Return a frame of positions, of which bodies and the cursors in them are given."""
    objects = [b"{" + body[: -len(_CURSOR) - len(own) - len(_END)] + b"}" for body, own in bodies]
    head = b'{"type":"positions","topic":' + encode(topic) + _CURSOR + cursor.encode()
    return head + b'","positions":[' + b",".join(objects) + b"]}"


@lru_cache(maxsize=4096)
def position_head(topic: str) -> bytes:
    """Return the beginning of a topic's position frames, which a position's body completes."""
    return b'{"type":"position","topic":' + encode(topic) + b","
