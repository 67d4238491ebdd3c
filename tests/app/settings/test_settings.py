"""Each variable's default, each bound on both sides, the wording of errors, and that no password shows."""

import io
import os
import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from telemetry_app.settings import Settings, SettingsError, load_settings

DEFAULTS = {
    "redis_url": "redis://localhost:6379",
    "redis_telemetry_stream": "telemetry:teltonika",
    "redis_telemetry_partitions": 1,
    "redis_telemetry_producer": "single",
    "stream_retention": "none",
    "redis_consumer_group": "processor",
    "postgres_url": "postgresql://localhost:5432/postgres",
    "postgres_pooler": "auto",
    "postgres_pool_size": 4,
    "migrate_on_start": True,
    "batch_size": 1000,
    "batch_block_ms": 100,
    "write_batch_size": 1000,
    "write_concurrency": 2,
    "device_state_lru_cap": 100_000,
    "dead_letter_after": 5,
    "dead_letter_max_share": 0.5,
    "quality_max_ahead_s": 300,
    "lease_ttl_ms": 5000,
    "live_host": "0.0.0.0",  # noqa: S104 - the documented default
    "live_port": 8081,
    "live_path": "/live",
    "live_allowed_origins": (),
    "live_embed_origins": (),
    "live_device_event_refresh_ms": 30_000,
    "live_reauthorize_ms": 60_000,
    "live_sign_in_url": None,
    "live_max_connections": 10_000,
    "live_max_connections_per_user": 50,
    "live_max_connections_per_address": 1000,
    "live_allow_public": False,
    "live_trusted_proxies": (),
    "live_max_subscriptions": 100,
    "live_slow_client_bytes": 262_144,
    "live_slow_client_ms": 30_000,
    "live_broadcast_share": 0.1,
    "live_gather_max_ms": 200,
    "directus_base_url": None,
    "directus_timeout_ms": 5000,
    "directus_cache_ms": 5000,
    "live_auth": "directus",
    "live_entry_fields": ("name", "number", "class", "color"),
    "live_course_field": "course",
    "live_basemap": None,
    "metrics_host": "0.0.0.0",  # noqa: S104 - the documented default
    "metrics_port": 9090,
    "log_level": "info",
    "log_format": "json",
    "roles": frozenset({"write", "live"}),
}
RANGES: dict[str, tuple[int, int | None]] = {
    "redis_telemetry_partitions": (1, 1024),
    "postgres_pool_size": (1, 64),
    "batch_size": (1, 10_000),
    "batch_block_ms": (1, 60_000),
    "write_batch_size": (1, 10_000),
    "write_concurrency": (1, 16),
    "device_state_lru_cap": (1, None),
    "dead_letter_after": (1, None),
    "quality_max_ahead_s": (1, 86_400),
    "lease_ttl_ms": (500, 60_000),
    "live_port": (1, 65_535),
    "live_device_event_refresh_ms": (1000, None),
    "live_reauthorize_ms": (0, None),
    "live_max_connections": (1, None),
    "live_max_connections_per_user": (1, None),
    "live_max_connections_per_address": (1, None),
    "live_max_subscriptions": (1, None),
    "live_slow_client_bytes": (1, None),
    "live_slow_client_ms": (1, None),
    "live_gather_max_ms": (0, 2000),
    "directus_timeout_ms": (1, None),
    "directus_cache_ms": (0, None),
    "metrics_port": (0, 65_535),
}
ACCEPTED = [
    ("redis_url", "rediss://user:secret@redis.example.org:6380/2", "rediss://user:secret@redis.example.org:6380/2"),
    ("redis_url", "unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ("redis_url", "redis+cluster://a:7000", "redis+cluster://a:7000"),
    ("redis_url", "rediss+cluster://a:7000", "rediss+cluster://a:7000"),
    ("redis_url", "redis://[::1]:6379", "redis://[::1]:6379"),
    ("postgres_url", "postgres://u@h/d?sslmode=require", "postgres://u@h/d?sslmode=require"),
    ("postgres_url", "postgresql://h1:5432,h2:5433/d", "postgresql://h1:5432,h2:5433/d"),
    ("postgres_url", "postgresql://u:p@[::1]:5432/d?sslmode=require", "postgresql://u:p@[::1]:5432/d?sslmode=require"),
    ("redis_url", "rediss://h?socket_timeout=3&ssl_cert_reqs=none", "rediss://h?socket_timeout=3&ssl_cert_reqs=none"),
    ("redis_telemetry_stream", "s" * 200, "s" * 200),
    ("migrate_on_start", "false", False),
    ("live_path", "/ws/live", "/ws/live"),
    ("live_allowed_origins", "*", ("*",)),
    ("live_allowed_origins", "", ()),
    ("live_allowed_origins", "https://A.example/, http://b:81", ("https://a.example", "http://b:81")),
    ("live_embed_origins", "", ()),
    ("live_embed_origins", "*", ("*",)),
    (
        "live_embed_origins",
        "HTTPS://Www.Example.org:443/,http://*.b:81",
        ("https://www.example.org", "http://*.b:81"),
    ),
    ("live_trusted_proxies", "", ()),
    (
        "live_trusted_proxies",
        "10.0.0.7, 192.168.1.9/16,2001:db8::/32, [::1]",
        tuple(map(ip_network, ("10.0.0.7", "192.168.0.0/16", "2001:db8::/32", "::1"))),
    ),
    (
        "live_trusted_proxies",
        "::ffff:10.0.0.7,::ffff:10.0.0.0/104,::/0",
        tuple(map(ip_network, ("10.0.0.7", "10.0.0.0/8", "::/0"))),
    ),
    ("directus_base_url", "", None),
    ("directus_base_url", "https://cms.example.org/api/", "https://cms.example.org/api"),
    ("redis_telemetry_producer", "Sharded", "sharded"),
    ("stream_retention", "6H", "6h"),
    ("stream_retention", "100000", "100000"),
    ("live_auth", "none", "none"),
    ("live_entry_fields", "", ()),
    ("live_course_field", "", None),
    ("live_basemap", " ", None),
    ("live_sign_in_url", " ", None),
    ("live_sign_in_url", "/admin/login?continue=1", "/admin/login?continue=1"),
    ("live_sign_in_url", " https://www.example.org/login#form ", "https://www.example.org/login#form"),
    ("live_basemap", " maps/race 7.pmtiles ", "maps/race 7.pmtiles"),
    ("live_course_field", " route_2 ", "route_2"),
    ("live_entry_fields", " name, bib_2 ,", ("name", "bib_2")),
    ("dead_letter_max_share", "1", 1.0),
    ("log_level", "WARNING", "warning"),
    ("log_level", "Debug", "debug"),
    ("log_format", "pretty", "pretty"),
    ("roles", "write", frozenset({"write"})),
    ("roles", " Live , write,", frozenset({"write", "live"})),
]
REFUSED = [
    ("redis_url", "kafka://localhost"),
    ("redis_url", "redis:localhost"),
    ("redis_url", "redis://localhost:65536"),
    ("redis_url", "redis://local host"),
    ("redis_url", "redis://h?socket_timeout=abc"),
    ("redis_url", "redis://h?nonsense=1"),
    ("redis_url", "redis+cluster://h?nonsense=1"),
    ("postgres_url", "postgresql://u@h:abc/d"),
    ("postgres_url", "postgresql://h1:5432,h2:x/d"),
    ("postgres_url", "postgresql://h/d?sslmode=bogus"),
    ("redis_url", "redis://[::1"),
    ("redis_url", "unix://"),
    ("redis_url", ""),
    ("postgres_url", "mysql://localhost/x"),
    ("postgres_url", "localhost/x"),
    ("dead_letter_max_share", "0"),
    ("live_broadcast_share", "0"),
    ("live_broadcast_share", "1.01"),
    ("dead_letter_max_share", "1.1"),
    ("dead_letter_max_share", "nan"),
    ("redis_telemetry_stream", ""),
    ("redis_telemetry_stream", "s" * 201),
    ("redis_telemetry_stream", "a{b}"),
    ("redis_consumer_group", "a b"),
    ("instance_id", ""),
    ("migrate_on_start", "perhaps"),
    ("live_host", ""),
    ("metrics_host", "a b"),
    ("live_path", "live"),
    ("live_path", "/live?x=1"),
    ("live_trusted_proxies", "nginx"),
    ("live_trusted_proxies", "10.0.0.0/33"),
    ("live_trusted_proxies", "10.0.0.7,10.0.0"),
    ("live_trusted_proxies", "7"),
    ("live_allowed_origins", "maps.example.org"),
    ("live_allowed_origins", "https://maps.example.org/page"),
    ("live_allowed_origins", "https://ok.example,ftp://no.example"),
    ("live_sign_in_url", "login"),
    ("live_sign_in_url", "//evil.example/login"),
    ("live_sign_in_url", "/\\evil.example"),
    ("live_sign_in_url", "https://"),
    ("live_sign_in_url", "https://www.example.org/log in"),
    ("live_sign_in_url", "javascript:alert(1)"),
    ("live_embed_origins", "www.example.org"),
    ("live_embed_origins", "https://www.example.org/page"),
    ("live_embed_origins", "https://ok.example,null"),
    ("live_embed_origins", "capacitor://localhost"),
    ("live_embed_origins", "http://[::1]:81"),
    ("live_embed_origins", "https://a.example;script-src"),
    ("live_embed_origins", "https://a.example'"),
    ("directus_base_url", "cms.example.org"),
    ("directus_base_url", "https://"),
    ("redis_telemetry_producer", "both"),
    ("stream_retention", "0"),
    ("stream_retention", "6 hours"),
    ("live_auth", "password"),
    ("live_entry_fields", "name,*"),
    ("live_course_field", "course,name"),
    ("live_course_field", "*"),
    ("live_entry_fields", "name;number"),
    ("live_entry_fields", "team.name"),
    ("live_entry_fields", ",".join(f"field_{n}" for n in range(17))),
    ("log_level", "trace"),
    ("log_format", "xml"),
    ("roles", ""),
    ("roles", ","),
    ("roles", "write,read"),
]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.__stderr__", io.StringIO())


def refusal(monkeypatch: pytest.MonkeyPatch, field: str, value: str) -> str:
    monkeypatch.setenv(field.upper(), value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


def test_defaults() -> None:
    """Without any variable each setting has its documented default."""
    settings = load_settings().model_dump()
    del settings["instance_id"]
    assert settings == DEFAULTS


def test_instance_id_is_the_host_and_something_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of one host have different names."""
    monkeypatch.setattr("socket.gethostname", lambda: "box")
    one, other = load_settings().instance_id, load_settings().instance_id
    assert re.fullmatch(r"box-[0-9a-f]{6}", one)
    assert one != other


@pytest.mark.parametrize(("terminal", "expected"), [(True, "pretty"), (False, "json")])
def test_log_format_depends_on_the_terminal(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, expected: str) -> None:
    """Logs are pretty on a terminal and JSON elsewhere, unless LOG_FORMAT says otherwise."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.__stderr__", stream)
    assert load_settings().log_format == expected
    monkeypatch.setenv("LOG_FORMAT", "json")
    assert load_settings().log_format == "json"


@pytest.mark.parametrize(("field", "bounds"), RANGES.items(), ids=list(RANGES))
def test_numbers_just_inside_their_bounds(
    monkeypatch: pytest.MonkeyPatch, field: str, bounds: tuple[int, int | None]
) -> None:
    """The bounds themselves are allowed."""
    low, high = bounds
    for value in (low, 10**9 if high is None else high):
        monkeypatch.setenv(field.upper(), str(value))
        assert getattr(load_settings(), field) == value


@pytest.mark.parametrize(("field", "bounds"), RANGES.items(), ids=list(RANGES))
def test_numbers_just_outside_their_bounds(
    monkeypatch: pytest.MonkeyPatch, field: str, bounds: tuple[int, int | None]
) -> None:
    """One beyond a bound, and what is no number, stops with the variable, the value and the bound."""
    low, high = bounds
    bound = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
    outside = [str(low - 1), "many", "", "1.5"] + ([] if high is None else [str(high + 1)])
    for value in outside:
        assert refusal(monkeypatch, field, value) == f"{field.upper()} is '{value}', but must be {bound}."


@pytest.mark.parametrize(("field", "text", "expected"), ACCEPTED)
def test_accepted_texts(monkeypatch: pytest.MonkeyPatch, field: str, text: str, expected: object) -> None:
    """A well-formed value is taken, lists and case as documented."""
    monkeypatch.setenv(field.upper(), text)
    assert getattr(load_settings(), field) == expected


@pytest.mark.parametrize(("field", "text"), REFUSED)
def test_refused_texts(monkeypatch: pytest.MonkeyPatch, field: str, text: str) -> None:
    """A malformed value stops with one sentence that names the variable and shows the value."""
    message = refusal(monkeypatch, field, text)
    assert message.startswith(f"{field.upper()} is {text!r}, but must ")
    assert message.endswith(".")
    assert "\n" not in message


def test_several_bad_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bad variable is named and the others counted; `problems` names them all."""
    monkeypatch.setenv("ROLES", "none")
    monkeypatch.setenv("BATCH_SIZE", "0")
    assert refusal(monkeypatch, "lease_ttl_ms", "1") == (
        "BATCH_SIZE is '0', but must be a whole number from 1 to 10000; 2 other variables are wrong too."
    )
    with pytest.raises(SettingsError) as caught:
        load_settings(roles="write")
    assert str(caught.value).endswith("; 1 other variable is wrong too.")
    assert list(caught.value.problems) == ["BATCH_SIZE", "LEASE_TTL_MS"]


def test_a_long_value_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pasted file does not become the message."""
    assert len(refusal(monkeypatch, "batch_size", "x" * 100_000)) < 350


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("redis_url", "http://u:secret@h"),
        ("redis_url", "u:secret@h:6379"),
        ("redis_url", "redis://u:secret@h:port"),
        ("postgres_url", "mysql://h/d?password=secret"),
        ("directus_base_url", "ftp://u:secret@h"),
    ],
)
def test_messages_show_no_password(monkeypatch: pytest.MonkeyPatch, field: str, text: str) -> None:
    """The value is shown in the message with its password masked."""
    message = refusal(monkeypatch, field, text)
    assert "secret" not in message
    assert "***" in message


def test_settings_show_no_password() -> None:
    """Printing the settings prints no password, while the fields keep it."""
    settings = load_settings(redis_url="redis://u:secret@h", postgres_url="postgres://u:secret@h/d")
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert "secret" not in shown
        assert "redis://u:***@h" in shown
    assert settings.redis_url == "redis://u:secret@h"


def test_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` of the working directory counts, unknown variables in it don't, the environment goes first."""
    (tmp_path / ".env").write_text("BATCH_SIZE=7\nWRITE_BATCH_SIZE=8\nSOMETHING_ELSE=1\nROLES=live\n")
    monkeypatch.setenv("BATCH_SIZE", "9")
    settings = load_settings()
    assert (settings.batch_size, settings.write_batch_size, settings.roles) == (9, 8, frozenset({"live"}))
    assert load_settings(batch_size=10).batch_size == 10


def test_unreadable_dotenv(tmp_path: Path) -> None:
    """A `.env` that is no text stops with a sentence, too."""
    (tmp_path / ".env").write_bytes(b"BATCH_SIZE=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"^\.env cannot be read: "):
        load_settings()


def test_unknown_override() -> None:
    """A misspelt override is a mistake of the programmer, not silently dropped."""
    with pytest.raises(TypeError, match="no such setting: batchsize"):
        load_settings(batchsize=1)


def test_require_live_auth() -> None:
    """Without Directus the live side may run only when LIVE_AUTH says so."""
    with pytest.raises(SettingsError, match=r"^DIRECTUS_BASE_URL is unset, but "):
        load_settings().require_live_auth()
    load_settings(live_auth="none").require_live_auth()
    load_settings(directus_base_url="http://cms:8055").require_live_auth()


@pytest.mark.parametrize("given", [{}, {"postgres_url": "postgresql://h/d"}])
def test_nobody_to_sign_in_as(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> None:
    """A user id without a name, as containers have, cannot sign in to a database whose URL names nobody."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321_678)
    with pytest.raises(SettingsError, match="but must be a URL that names a user"):
        load_settings(**given)
    assert load_settings(postgres_url="postgresql://u@h/d").postgres_url == "postgresql://u@h/d"
    monkeypatch.setenv("USER", "u")
    assert load_settings(**given).postgres_url
