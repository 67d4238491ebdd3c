"""Faust's settings, of which many have no meaning on Redis Streams: those are refused, not ignored."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from faust.types.enums import ProcessingGuarantee
from faust.types.settings import Settings as FaustSettings
from faust.utils.urls import urllist
from yarl import URL

from faust_redis.driver.assignor import LeaseAssignor
from faust_redis.driver.store import Table
from faust_redis.options import RedisOptions
from faust_redis.redis.address import SCHEMES
from faust_redis.redis.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Each worker looks at every lease several times in a lease's time.
MOST_PARTITIONS: Final = 1024

_STORE: Final = "redis://"
#: Types of the options that are numbers, as they are written.
_NUMBERS: Final = ("int", "float")

#: Settings that cannot do anything here, by what there is instead.
_NO_USE: Final[dict[str, tuple[str, ...]]] = {
    "nothing is kept in files": ("datadir", "tabledir"),
    "an App takes no settings from the environment": ("env_prefix",),
    "reading, state and sending are behind the one address in broker": ("broker_consumer", "broker_producer"),
    "user, password and TLS belong into the broker's URL": ("broker_credentials", "ssl_context"),
    "RedisOptions(lease_ttl_ms) says when a silent worker loses its partitions": (
        "broker_heartbeat_interval",
        "broker_max_poll_interval",
        "broker_rebalance_timeout",
        "broker_session_timeout",
        "consumer_group_instance_id",
    ),
    "RedisOptions(batch_size, block_ms) says how much is read at once": (
        "broker_max_poll_records",
        "consumer_max_fetch_size",
        "ConsumerScheduler",
    ),
    "a batch is committed as soon as it is settled": (
        "broker_commit_livelock_soft_timeout",
        "stream_processing_timeout",
        "stream_publish_on_commit",
    ),
    "it is Kafka's alone": (
        "broker_api_version",
        "broker_check_crcs",
        "broker_client_id",
        "broker_request_timeout",
        "consumer_api_version",
        "consumer_connections_max_idle_ms",
        "consumer_metadata_max_age_ms",
        "LeaderAssignor",
    ),
    "an entry is appended at once, to the partition of its key": (
        "producer_acks",
        "producer_api_version",
        "producer_compression_type",
        "producer_connections_max_idle_ms",
        "producer_linger",
        "producer_linger_ms",
        "producer_max_batch_size",
        "producer_max_request_size",
        "producer_metadata_max_age_ms",
        "producer_partitioner",
        "producer_request_timeout",
        "producer_threaded",
    ),
    "agents cannot be asked for replies": ("reply_create_topic", "reply_expires", "reply_to", "reply_to_prefix"),
    "tables are in Redis, without changelog, windows or copies elsewhere": (
        "aerospike_retries_on_exception",
        "aerospike_sleep_seconds_between_retries_on_exception",
        "crash_app_on_aerospike_exception",
        "GlobalTable",
        "recovery_consistency_check",
        "SetGlobalTable",
        "SetTable",
        "store_check_exists",
        "stream_recovery_delay",
        "table_cleanup_interval",
        "table_key_index_size",
    ),
    "requests are not routed between workers": ("Router",),
    "Faust has given it up": ("stream_ack_cancelled_tasks", "stream_ack_exceptions", "url"),
}
NO_USE: Final = {name: reason for reason, names in _NO_USE.items() for name in names}

#: Settings of which one value alone is true, and why.
ONLY: Final[dict[str, tuple[object, str]]] = {
    "processing_guarantee": (
        ProcessingGuarantee.AT_LEAST_ONCE,
        "state and acknowledgement are committed in one step, but what an agent sends may be sent twice",
    ),
    "consumer_auto_offset_reset": ("earliest", "a new group reads from the beginning of its streams"),
    "stream_wait_empty": (True, "a batch in flight must end before its partition is given back"),
    "table_standby_replicas": (0, "tables are in Redis, without copies elsewhere"),
    "topic_disable_leader": (True, "workers have no leader"),
    "topic_replication_factor": (1, "Redis itself replicates"),
    **dict.fromkeys(
        (
            "web_graph_enabled",
            "web_metrics_enabled",
            "web_router_enabled",
            "web_stats_enabled",
            "web_tables_enabled",
        ),
        (False, "Faust's own pages are not shown"),
    ),
}

#: What a setting's class must derive from.
_CLASSES: Final[dict[str, type]] = {"PartitionAssignor": LeaseAssignor, "Table": Table}
#: What `faust.App` takes besides settings.
_NO_SETTINGS: Final = ("beacon", "config_source", "loop", "monitor")


class Settings(FaustSettings):
    """Faust's settings as an application gave them; the environment has no say."""

    _made = False

    def on_init(self, id: str, **settings: Any) -> None:  # noqa: A002 - Faust's name
        """Refuse what cannot work, wherever the settings come from.

        Raises:
            Misconfigured: In one sentence, for the first such setting.
        """
        refuse_settings(settings)
        super().on_init(id, **{**settings, "env": {}})

    def __post_init__(self) -> None:
        """Name the folder that is never made; Faust's own default comes from the environment."""
        self.datadir = Path(f"{self.name}-data")
        self._made = True

    def __setattr__(self, name: str, value: Any) -> None:
        """Set one setting later, as in a handler of `App.on_configured`.

        Raises:
            Misconfigured: In one sentence, when it cannot work.
        """
        if self._made:
            refuse_settings({name: value})
        super().__setattr__(name, value)


def refuse_settings(settings: Mapping[str, Any]) -> None:
    """Refuse the settings that cannot work on Redis Streams; names that Faust does not know are not looked at.

    Raises:
        Misconfigured: In one sentence, for the first such setting.
    """
    for name, value in settings.items():
        if value is not None and name in FaustSettings.SETTINGS:
            _refuse_setting(name, value)


def refuse_unknown(names: Iterable[str]) -> None:
    """Refuse what is no setting, which Faust would drop in silence.

    Raises:
        Misconfigured: In one sentence, for the first such name.
    """
    for name in names:
        if name not in FaustSettings.SETTINGS and name not in _NO_SETTINGS:
            raise Misconfigured(f"Faust has no setting named {name}")


def _refuse_setting(name: str, value: Any) -> None:
    if name in NO_USE:
        raise Misconfigured(f"the setting {name} has no use on Redis Streams, since {NO_USE[name]}")
    if name in ONLY:
        only, why = ONLY[name]
        if _converted(name, value) != only:
            raise Misconfigured(f"the setting {name} must be {_shown(only)} on Redis Streams, since {why}")
    if name == "broker":
        _refuse_broker(value)
    if name == "store":
        refuse_store(value)
    if name == "topic_partitions":
        refuse_partitions(name, _converted(name, value))
    if name in _CLASSES:
        _refuse_class(name, value, _CLASSES[name])


def _refuse_class(name: str, value: Any, kind: type) -> None:
    if not issubclass(_converted(name, value), kind):
        raise Misconfigured(f"the setting {name} must be {kind.__module__}.{kind.__name__} or a subclass of it")


def _refuse_broker(value: Any) -> None:
    try:
        urls = urllist(value, default_scheme="kafka")
    except (TypeError, ValueError):
        # It may hold a password, so it is not shown.
        raise Misconfigured(f"the setting broker is no URL that begins with {_in_words()}") from None
    if len(urls) != 1:
        raise Misconfigured(f"the setting broker has {len(urls)} URLs, but all partitions must be behind one")
    if urls[0].scheme not in SCHEMES:
        raise Misconfigured(f"the setting broker begins with {urls[0].scheme}://, which is none of {_in_words()}")


def refuse_store(store: Any) -> None:
    """Refuse a store that is not beside the stream.

    Raises:
        Misconfigured: It is another one.
    """
    if URL(store) != URL(_STORE):
        raise Misconfigured(f"the store of tables must be {_STORE}, since their state lies beside the stream it is of")


def refuse_options(options: object) -> None:
    """Refuse options of another kind, and numbers with which nothing would be read or kept.

    Raises:
        Misconfigured: In one sentence, for the first such option.
    """
    if not isinstance(options, RedisOptions):
        raise Misconfigured("redis_options must be faust_redis.RedisOptions(…)")
    for option in fields(options):
        value = getattr(options, option.name)
        if option.type in _NUMBERS and not (isinstance(value, (int, float)) and value > 0):
            raise Misconfigured(f"RedisOptions({option.name}) is {value!r}, but must be a number above 0")


def refuse_partitions(name: str, partitions: object) -> None:
    """Refuse numbers of partitions that cannot be shared out.

    Raises:
        Misconfigured: It is no number, or out of bounds.
    """
    if not (isinstance(partitions, int) and 1 <= partitions <= MOST_PARTITIONS):
        raise Misconfigured(f"{name} is {partitions!r}, but must be from 1 to {MOST_PARTITIONS}")


def _converted(name: str, value: Any) -> Any:
    try:
        return FaustSettings.SETTINGS[name].to_python(cast("Any", None), value)
    except (TypeError, ValueError):
        raise Misconfigured(f"the setting {name} is {value!r}, which is no value of it") from None


def _shown(value: object) -> str:
    return value.value if isinstance(value, ProcessingGuarantee) else str(value)


def _in_words() -> str:
    return ", ".join(f"{scheme}://" for scheme in SCHEMES)
