"""What the live side needs from elsewhere, and what it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from faust_redis.broadcast.replay import StreamTips
    from faust_redis.redis.replies import Entry, EntryId
    from telemetry_app.live.wire.position import LivePosition


class Credentials(NamedTuple):
    """What a client shows of itself.

    Attributes:
        cookie: The Cookie header as it came; None without one.
        forwarded_for: The client's address, or the chain of addresses of the client and the proxies before us.
    """

    cookie: str | None
    forwarded_for: str


class Authentication(NamedTuple):
    """Who a client is: `user_id` when ok; when it could not be asked, after how long to try again, if known."""

    result: Literal["ok", "unauthorized", "error"]
    user_id: str | None = None
    retry_after_s: float | None = None


class Authorization(NamedTuple):
    """Whether a client may see an event; when it could not be asked, after how long to try again, if known."""

    result: Literal["ok", "unauthorized", "forbidden", "not-found", "error"]
    retry_after_s: float | None = None


class Authenticator(Protocol):
    """Knows sessions. Never raises: what goes wrong is a result."""

    async def authenticate(self, credentials: Credentials) -> Authentication:
        """Tell whose session a client shows."""


class Authorizer(Protocol):
    """Knows rights. Never raises: what goes wrong is a result."""

    async def may_see(self, event_id: str, credentials: Credentials) -> Authorization:
        """Tell whether the session may see an event; the id is whatever a client wrote."""

    async def visible_events(self, credentials: Credentials) -> list[dict[str, Any]] | None:
        """Return the events the session may see, each with `id` and perhaps `name`."""


class DeviceEvents(Protocol):
    """Knows which devices take part in which events; answers from memory."""

    def events_of(self, device_id: str) -> frozenset[str]:
        """Return the ids of a device's events."""

    def devices_of(self, event_id: str) -> frozenset[str]:
        """Return the devices of an event."""


class StoredPositions(Protocol):
    """Reads the database, and fails open: what cannot be read is left out."""

    async def newest(self, device_ids: Collection[str]) -> list[LivePosition]:
        """Return the newest position of each device that is not marked faulty."""

    async def stored_until(self, device_ids: Collection[str]) -> Mapping[str, int]:
        """Return the newest stored timestamp of each device in epoch ms, faulty positions included."""


class Replay(Protocol):
    """Reads entries again that have passed already. Raises `FaustRedisError` when Redis cannot be read."""

    async def tips(self, streams: Sequence[str]) -> list[StreamTips]:
        """Return what each stream can still give."""

    async def page(self, stream: str, after: EntryId, until: EntryId) -> list[Entry]:
        """Return the first entries of `after < id <= until`; none when there are no more."""


class Source(Protocol):
    """The reader behind the fan-out, as far as it matters where it began and when it was last up to date."""

    async def start_vector(self) -> tuple[EntryId, ...]:
        """Return, once it has begun, the id behind which it began in each stream."""

    @property
    def caught_up_at(self) -> float:
        """Loop time at which a read was begun that then found nothing more; -inf before the first."""

    @property
    def reached(self) -> Mapping[str, EntryId]:
        """Last entry handed over, by stream."""


class LiveObserver(Protocol):
    """Told the live side's facts; every count is the real number, told where it happens."""

    def connections(self, number: int) -> None:
        """The number of open connections changed."""

    def subscriptions(self, number: int) -> None:
        """The number of subscriptions changed."""

    def frames(self, result: Literal["sent", "conflated"], number: int) -> None:
        """Positions were written for clients, or left out because a newer one of their device was written."""

    def orphans(self, positions: int) -> None:
        """Positions of devices that are in no event arrived."""

    def late(self, positions: int) -> None:
        """Positions arrived that are not newer than one already sent for their device."""

    def slow_client(self) -> None:
        """A client was closed because it stayed behind."""

    def delivered(self, seconds: float) -> None:
        """A batch's frames of one topic were written; seconds since its oldest entry was added to the stream."""

    def authentication(self, result: str, seconds: float) -> None:
        """A client was found to be `ok` or `unauthorized`, or could not be judged (`error`)."""

    def authorization(self, result: str, seconds: float) -> None:
        """A right was found to be `ok`, `unauthorized`, `forbidden` or `not-found`, or could not be asked (`error`)."""

    def snapshot(self, seconds: float) -> None:
        """A snapshot was read, or given up, after this time."""

    def snapshot_failed(self) -> None:
        """A snapshot could not be read, and was left empty."""

    def retried(self, operation: str) -> None:
        """An operation failed and will be tried again."""
