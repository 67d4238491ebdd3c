"""What the live side needs from outside its rooms, and what it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from faust_redis.broadcast.replay import StreamTips
    from faust_redis.redis.replies import Entry, EntryId
    from telemetry_app.live.wire.past import Past, Window
    from telemetry_app.live.wire.position import LivePosition, Rank
    from telemetry_app.live.wire.protocol import EntryFields


class Credentials(NamedTuple):
    """What a client shows of itself.

    Attributes:
        cookie: The Cookie header as it came; None without one.
        forwarded_for: The client's address, told to Directus, which limits rates by it.
    """

    cookie: str | None
    forwarded_for: str


class Authentication(NamedTuple):
    """Who a client is: when ok, `user_id`, or None for nobody in particular.

    On `error`, when to try again, if Directus said so.
    """

    result: Literal["ok", "unauthorized", "error"]
    user_id: str | None = None
    retry_after_s: float | None = None


class Authorization(NamedTuple):
    """Whether a client may see an event.

    Attributes:
        result: Whether it may.
        retry_after_s: On `error`, when to try again, if Directus said so.
        why: On `error`, what clients are told instead of that their rights could not be checked.
    """

    result: Literal["ok", "unauthorized", "forbidden", "not-found", "error"]
    retry_after_s: float | None = None
    why: str | None = None


class Authenticator(Protocol):
    """Knows sessions. Never raises: a failure is a result."""

    async def authenticate(self, credentials: Credentials) -> Authentication:
        """Tell whose session a client shows."""


class Authorizer(Protocol):
    """Knows rights. Never raises: a failure is a result."""

    async def may_see(self, event_id: str, credentials: Credentials) -> Authorization:
        """Tell whether the session may see an event; the id is taken from the client unchecked."""

    async def visible_events(self, credentials: Credentials) -> list[dict[str, Any]] | None:
        """Return the events the session may see, each with `id` and perhaps `name`."""


class EventDetails(Protocol):
    """Knows what else a client is told of an event that it may see. Never raises: what cannot be had is left out."""

    async def entries(self, event_id: str, credentials: Credentials, edition: int) -> Mapping[str, EntryFields] | None:
        """Return the entries that a session may see, by their ids; None when nobody can be asked now.

        With another edition, of `DeviceEvents.version`, they are asked for anew: an earlier answer lacks newcomers.
        """

    async def course(self, event_id: str, credentials: Credentials) -> bytes | None:
        """Return the course of an event as GeoJSON, as `fit_course` makes it; None without one that can be shown."""


class DeviceEvents(Protocol):
    """Knows which devices take part in which events; answers from memory."""

    def events_of(self, device_id: str) -> frozenset[str]:
        """Return the ids of a device's events."""

    def devices_of(self, event_id: str) -> frozenset[str]:
        """Return the devices of an event; the same object until they change."""

    @property
    def version(self) -> int:
        """How often they were read with another result than before; 0 = not yet, and nothing is known."""

    def entries_of(self, event_id: str) -> Mapping[str, str]:
        """Return the id of the entry for which each device of an event takes part."""


class StoredPositions(Protocol):
    """Reads the database. Never raises."""

    async def newest(self, device_ids: Collection[str]) -> list[LivePosition] | None:
        """Return the newest position of each device that is not marked faulty; None when they cannot be read."""

    async def stored_until(self, newest: Mapping[str, Rank]) -> Mapping[str, Rank]:
        """Return the last stored position up to the timestamp of another one of each device, faulty ones included.

        What cannot be read is left out.
        """


class PastUnavailableError(Exception):
    """Past positions cannot be read now: `busy`, too many are being read, or `error`, the database cannot be asked."""

    def __init__(self, reason: Literal["busy", "error"]) -> None:
        super().__init__(reason)
        self.reason = reason


class PastReader(Protocol):
    """Reads past positions, a bounded number of windows at a time."""

    async def read(self, device_ids: Collection[str], window: Window) -> Past:
        """Return the positions of devices in a window. Raises `PastUnavailableError`; cancelling ends the read."""

    async def extent(self, device_ids: Collection[str], until: datetime) -> tuple[int, int] | None:
        """Return when the last event of devices began and ended, in epoch ms. Raises `PastUnavailableError`."""


class Replay(Protocol):
    """Reads entries that have already passed. Raises `FaustRedisError` when Redis cannot be read."""

    async def tips(self, streams: Sequence[str]) -> list[StreamTips]:
        """Return which entries each stream still has."""

    async def page(self, stream: str, after: EntryId, until: EntryId) -> list[Entry]:
        """Return the first entries of `after < id <= until`; none when there are no more."""


class Source(Protocol):
    """Tells where the reader of the broadcast began, and when it was last up to date; reads no faster than asked."""

    async def start_vector(self) -> tuple[EntryId, ...]:
        """Wait until it has begun; return the id after which it began in each stream."""

    @property
    def caught_up_at(self) -> float:
        """Loop time at which the latest read began that reached the end of every stream; -inf before the first."""

    @property
    def reached(self) -> Mapping[str, EntryId]:
        """Id of the last entry handed over, by stream."""

    def rest(self, for_s: float) -> None:
        """Let records gather for so long from now before they are read; `inf` = until it is said for how long."""


class LiveObserver(Protocol):
    """Told the live side's facts; every count is the real number, told where it happens."""

    def connections(self, number: int) -> None:
        """The number of open connections changed."""

    def subscriptions(self, number: int) -> None:
        """The number of subscriptions changed."""

    def frames(self, result: Literal["sent", "conflated"], number: int) -> None:
        """Positions were written to clients, or left out because a newer one of their device was written."""

    def orphans(self, positions: int) -> None:
        """Positions arrived from devices that are in no event."""

    def late(self, positions: int) -> None:
        """Positions arrived that are no newer than one already sent for their device."""

    def refused(self, reason: Literal["full", "address", "user", "waiting"]) -> None:
        """A client was refused: all together, its address or its user have as many connections as they may.

        `waiting`: a connection that was never answered was cut for a newcomer.
        """

    def slow_client(self) -> None:
        """A client was closed because it did not keep up."""

    def delivered(self, seconds: float) -> None:
        """A batch's frames of one topic were written; seconds since its oldest entry was added to the stream."""

    def authentication(self, result: str, seconds: float) -> None:
        """A client was found to be `ok` or `unauthorized`; `error`: it could not be asked."""

    def authorization(self, result: str, seconds: float) -> None:
        """An event was found to be `ok`, `unauthorized`, `forbidden` or `not-found`; `error`: it could not be asked."""

    def snapshot(self, seconds: float) -> None:
        """Reading a snapshot succeeded or failed after this time."""

    def history(self, result: str, seconds: float) -> None:
        """Reading past positions ended `ok`, `busy`, `error`, or because the client `left`, after this time."""

    def snapshot_failed(self) -> None:
        """Stored positions could not be read, so that clients are not shown them yet."""

    def retried(self, operation: str) -> None:
        """An operation failed and will be retried."""
