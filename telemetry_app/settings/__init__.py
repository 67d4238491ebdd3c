"""The settings: every variable of the environment, with its default and its bounds."""

import secrets
import socket
import sys
from collections.abc import Mapping
from typing import Any, Literal

from annotated_types import Ge, Le
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from telemetry_app.redaction import redact_url
from telemetry_app.serving import pmtiles
from telemetry_app.settings.environment import BadVariables, Environment, shown
from telemetry_app.settings.kinds import (
    BaseUrl,
    Bound,
    EmbedOrigins,
    FieldName,
    FieldNames,
    FilePath,
    Flag,
    HostName,
    KeyName,
    LiveAuth,
    LogFormat,
    LogLevel,
    Origins,
    PageUrl,
    Path,
    Pooler,
    Port,
    PostgresUrl,
    Producer,
    Proxies,
    RedisUrl,
    Roles,
    StreamRetention,
    UnfitError,
)


class SettingsError(ValueError):
    """The environment holds a value the service cannot start with; the text is one sentence.

    `problems` has, for each variable that is wrong, its name and a clause that says what it is and has to be.
    """

    def __init__(self, sentence: str, problems: Mapping[str, str]) -> None:
        super().__init__(sentence)
        self.problems = problems


def _default_instance_id() -> str:
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


def _default_log_format() -> Literal["json", "pretty"]:
    terminal = sys.__stderr__ is not None and sys.__stderr__.isatty()
    return "pretty" if terminal else "json"


class Settings(BaseSettings):
    """Every variable of the environment, one field each, the field's name being the variable's in lower case.

    Values come from arguments, then the environment, then the file `.env` of the working directory.
    `repr` and `str` show no password.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    redis_url: RedisUrl = Field("redis://localhost:6379", description="Redis: where the stream is")
    redis_telemetry_stream: KeyName = Field("telemetry:teltonika", description="Stream that the ingestion appends to")
    redis_telemetry_partitions: int = Field(
        1, ge=1, le=1024, description="Streams the work is spread over; 1 = the plain stream"
    )
    redis_telemetry_producer: Producer = Field(
        "single",
        description="Who chooses the partition of a record: `single`, a worker, which distributes the plain stream; "
        "`sharded`, the producer",
    )
    stream_retention: StreamRetention = Field(
        "none",
        description="How many records, or for how long, the stream keeps what every group has acknowledged; "
        "`none` trims nothing",
    )
    redis_consumer_group: KeyName = Field("processor", description="Consumer group, and the Faust app's id")
    instance_id: KeyName = Field(
        default_factory=_default_instance_id, description="Name of this process; unique among all workers"
    )
    postgres_url: PostgresUrl = Field(
        "postgresql://localhost:5432/postgres", description="Database of the positions", validate_default=True
    )
    postgres_pool_size: int = Field(4, ge=1, le=64, description="Database connections of one worker")
    postgres_pooler: Pooler = Field(
        "auto", description="Mode of a pooler (PgBouncer) before the database; `auto` finds out whether there is one"
    )
    migrate_on_start: Flag = Field(default=True, description="Apply outstanding migrations when the worker starts")
    batch_size: int = Field(1000, ge=1, le=10_000, description="Most records taken by one read of the stream")
    batch_block_ms: int = Field(100, ge=1, le=60_000, description="How long one read waits for new records")
    write_batch_size: int = Field(1000, ge=1, le=10_000, description="Most rows of one INSERT")
    write_concurrency: int = Field(2, ge=1, le=16, description="Batches being written at the same time")
    device_state_lru_cap: int = Field(
        100_000, ge=1, description="Devices whose state is kept; the longest unseen go first"
    )
    dead_letter_after: int = Field(5, ge=1, description="Deliveries after which a refused record becomes a dead letter")
    dead_letter_max_share: float = Field(
        0.5,
        ge=0.01,
        le=1,
        description="Share of a partition's last 1,000 records that may be refused; above it reading pauses, 1 = never",
    )
    quality_max_ahead_s: int = Field(
        300, ge=1, le=86_400, description="How far ahead of its append a position may be without being `faulty`"
    )
    lease_ttl_ms: int = Field(5000, ge=500, le=60_000, description="How long a dead worker keeps its partitions")
    live_host: HostName = Field("0.0.0.0", description="Address the live side listens on")  # noqa: S104 - served to other machines
    live_port: int = Field(8081, ge=1, le=65535, description="Port of the live side")
    live_path: Path = Field(
        "/live", description="Path of the WebSocket; everything else is in its folder, and without it"
    )
    live_allowed_origins: Origins = Field(
        (),
        description="Pages that may connect; empty = same origin only, `*` = any. "
        "A list replaces the same origin: name the map's own address in it. "
        "`null` is what sandboxed pages and files send",
    )
    live_embed_origins: EmbedOrigins = Field(
        (), description="Pages that may show the map in a frame (`/?embed=1`); empty = none, `*` = any"
    )
    live_device_event_refresh_ms: int = Field(
        30_000, ge=1000, description="How often devices and events are read again"
    )
    live_reauthorize_ms: int = Field(
        60_000, ge=0, description="How often rights are asked again; 0 = only at subscribe"
    )
    live_sign_in_url: PageUrl = Field(
        None, description="Page where people sign in, to which maps lead those without a session; unset = no link"
    )
    live_max_connections: int = Field(10_000, ge=1, description="WebSocket connections of one worker")
    live_max_connections_per_user: int = Field(50, ge=1, description="Of these, those of one user, in all its sessions")
    live_max_connections_per_address: int = Field(
        1000, ge=1, description="Of these, those of one client address; IPv6 counts by /64"
    )
    live_allow_public: Flag = Field(
        default=False, description="Let clients without a cookie in, with the rights of Directus' public role"
    )
    live_trusted_proxies: Proxies = Field(
        (),
        description="Proxies whose X-Forwarded-For tells the client's address; empty = the peer is the client. "
        "Without it all who come through a proxy count as one address",
    )
    live_max_subscriptions: int = Field(100, ge=1, description="Subscriptions of one connection")
    live_slow_client_bytes: int = Field(262_144, ge=1, description="Unsent bytes above which a client is conflated")
    live_slow_client_ms: int = Field(30_000, ge=1, description="How long a client may stay behind until it is closed")
    live_broadcast_share: float = Field(
        0.1, ge=0.01, le=1, description="Share of the event loop that sending to clients may take"
    )
    live_gather_max_ms: int = Field(
        200, ge=0, le=2000, description="How long positions gather at most to keep that share"
    )
    directus_base_url: BaseUrl = Field(
        None, description="Directus, asked who may see what; the live side needs it unless `LIVE_AUTH=none`"
    )
    directus_timeout_ms: int = Field(5000, ge=1, description="How long one question to Directus may take")
    directus_cache_ms: int = Field(5000, ge=0, description="How long an answer of Directus is used; 0 = not at all")
    live_auth: LiveAuth = Field(
        "directus", description="`none` lets everyone see everything: for the demo and tests only"
    )
    live_entry_fields: FieldNames = Field(
        ("name", "number", "class", "color"),
        description="Fields of Directus' collection `entries` that maps show, as far as a viewer may see them",
    )
    live_course_field: FieldName = Field(
        "course", description="Field of Directus' collection `events` with the course as GeoJSON; empty = none is shown"
    )
    live_basemap: FilePath = Field(
        None, description="Archive of vector tiles (PMTiles) that maps are drawn on; unset = outlines of countries"
    )
    metrics_host: HostName = Field("0.0.0.0", description="Address of metrics and health")  # noqa: S104 - scraped from other machines
    metrics_port: Port = Field(9090, description="Port of metrics and health; 0 = any free one")
    log_level: LogLevel = Field("info", description="Least severe level that is logged")
    log_format: LogFormat = Field(default_factory=_default_log_format, description="One JSON object a line, or colours")
    roles: Roles = Field(frozenset({"write", "live"}), description="Sides this worker runs")

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # its other arguments are of no use here
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: object
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, the first that has one going before the others."""
        return init_settings, Environment(settings_cls)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Return the fields for `repr` and `str`, passwords masked."""
        return [(name, redact_url(v) if isinstance(v, str) else v) for name, v in super().__repr_args__()]

    @property
    def distributes(self) -> bool:
        """Whether workers distribute the plain stream to the partitions."""
        return self.redis_telemetry_producer == "single" and self.redis_telemetry_partitions > 1

    @property
    def has_write_side(self) -> bool:
        """Whether this worker stores positions."""
        return "write" in self.roles

    @property
    def has_live_side(self) -> bool:
        """Whether this worker shows positions; not when nobody could sign in to see them."""
        return "live" in self.roles and (self.everybody_may_see or self.directus_base_url is not None)

    @property
    def everybody_may_see(self) -> bool:
        """Whether nobody has to sign in."""
        return self.live_auth == "none"

    def require_live_auth(self) -> None:
        """Refuse a live side that nobody can sign in to.

        Raises:
            SettingsError: `LIVE_AUTH` is `directus` and there is no `DIRECTUS_BASE_URL`.
        """
        if not self.everybody_may_see and self.directus_base_url is None:
            problem = (
                "is unset, but the live side must have it as long as LIVE_AUTH is directus "
                "(LIVE_AUTH=none is for the demo and tests, ROLES=write runs without the live side)"
            )
            raise SettingsError(f"DIRECTUS_BASE_URL {problem}.", {"DIRECTUS_BASE_URL": problem})

    def require_basemap(self) -> None:
        """Refuse a base map that cannot be shown.

        Raises:
            SettingsError: `LIVE_BASEMAP` names no archive of vector tiles.
        """
        if self.live_basemap is not None:
            try:
                pmtiles.read(self.live_basemap)
            except pmtiles.ArchiveError as error:
                problem = f"is {shown(self.live_basemap)}, but {error}"
                raise SettingsError(f"LIVE_BASEMAP {problem}.", {"LIVE_BASEMAP": problem}) from error


def bound_phrase(field_name: str) -> str:
    """Return what the variable of `field_name` has to be, worded to follow "must be"."""
    metadata = Settings.model_fields[field_name].metadata
    phrase = next((m.phrase for m in metadata if isinstance(m, Bound)), None)
    if phrase is not None:
        return phrase
    low = next(m.ge for m in metadata if isinstance(m, Ge))
    high = next((m.le for m in metadata if isinstance(m, Le)), None)
    number = "a whole number" if Settings.model_fields[field_name].annotation is int else "a number"
    return f"{number} of at least {low}" if high is None else f"{number} from {low} to {high}"


def load_settings(**overrides: Any) -> Settings:
    """Read the settings, `overrides` (field names) going before the environment and `.env`.

    Raises:
        SettingsError: A value is out of bounds or not of its kind, or `.env` cannot be read.
        TypeError: An override names no setting.
    """
    unknown = sorted(set(overrides) - set(Settings.model_fields))
    if unknown:
        raise TypeError(f"no such setting: {', '.join(unknown)}")
    try:
        return Settings(**overrides)
    except BadVariables as exc:
        raise SettingsError(_sentence(exc.problems), exc.problems) from None
    except ValidationError as exc:
        problems = _problems(exc)
        raise SettingsError(_sentence(problems), problems) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f".env cannot be read: {exc}.", {".env": f"cannot be read: {exc}"}) from exc


def _problems(error: ValidationError) -> dict[str, str]:
    given = {str(item["loc"][0]): item for item in error.errors(include_url=False)}
    return {
        name.upper(): f"is {shown(given[name]['input'])}, but {_what_it_must_be(name, given[name])}"
        for name in Settings.model_fields
        if name in given
    }


def _what_it_must_be(name: str, item: ErrorDetails) -> str:
    said = item.get("ctx", {}).get("error")
    return str(said) if isinstance(said, UnfitError) else f"must be {bound_phrase(name)}"


def _sentence(problems: Mapping[str, str]) -> str:
    (variable, problem), *others = problems.items()
    tail = f"; {len(others)} other variable{'s are' if len(others) > 1 else ' is'} wrong too" if others else ""
    return f"{variable} {problem}{tail}."
