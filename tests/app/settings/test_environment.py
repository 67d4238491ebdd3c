"""Variables as people, shells, containers and clusters leave them: meant, or refused by name."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from telemetry_app.cli import main
from telemetry_app.settings import Settings, SettingsError, load_settings
from telemetry_app.settings.environment import service_links

STREAM = "telemetry:teltonika"
HIDDEN_PASSWORD = "postgresql://u:a%23b@h/d"
#: What a Service makes of its name, by Kubernetes' reference.
LINK = {
    "{}_SERVICE_HOST": "10.43.0.7",
    "{}_SERVICE_PORT": "8081",
    "{}_SERVICE_PORT_HTTP": "8081",
    "{}_PORT": "tcp://10.43.0.7:8081",
    "{}_PORT_8081_TCP": "tcp://10.43.0.7:8081",
    "{}_PORT_8081_TCP_PROTO": "tcp",
    "{}_PORT_8081_TCP_PORT": "8081",
    "{}_PORT_8081_TCP_ADDR": "10.43.0.7",
}


_LINE_1 = "BATCH_SIZE cannot be read in line 1 of .env: write NAME=value."


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("REDIS_TELEMETRY_STREAM", '"telemetry:teltonika"', STREAM),
        ("REDIS_TELEMETRY_STREAM", "'telemetry:teltonika'\r", STREAM),
        ("REDIS_TELEMETRY_STREAM", " telemetry:teltonika \r\n", STREAM),
        ("REDIS_TELEMETRY_STREAM", "\u00a0telemetry:teltonika\u00a0", STREAM),
        ("REDIS_CONSUMER_GROUP", '"processor" ', "processor"),
        ("REDIS_URL", "redis://h:6379\r", "redis://h:6379"),
        ("REDIS_URL", '"redis://:a#b@h:6379/1"', "redis://:a%23b@h:6379/1"),
        ("POSTGRES_URL", "postgresql://u:a#b@h/d", HIDDEN_PASSWORD),
        ("BATCH_SIZE", '"7"', 7),
        ("BATCH_SIZE", " 7\r", 7),
        ("BATCH_SIZE", "1_000", 1000),
        ("MIGRATE_ON_START", "FALSE", False),
        ("MIGRATE_ON_START", '"False"\r', False),
        ("ROLES", '"write,live"', frozenset({"write", "live"})),
        ("LIVE_PATH", "'/live'", "/live"),
        ("LIVE_HOST", "[::]", "::"),
        ("METRICS_HOST", "::1", "::1"),
        ("METRICS_HOST", "metrics-1.example_org", "metrics-1.example_org"),
        ("DIRECTUS_BASE_URL", '""', None),
        ("DIRECTUS_BASE_URL", "'https://cms.example.org'", "https://cms.example.org"),
    ],
)
def test_what_stands_around_a_value_is_left_away(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, meant: object
) -> None:
    """Quotes, blanks and carriage returns around a value do not become part of it."""
    monkeypatch.setenv(name, text)
    assert getattr(load_settings(), name.lower()) == meant


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("REDIS_TELEMETRY_STREAM", '"telemetry:teltonika', "without quotes"),
        ("REDIS_TELEMETRY_STREAM", "“telemetry:teltonika”", "without quotes"),
        ("REDIS_TELEMETRY_STREAM", 'tele"metry', "without blanks, quotes"),
        ("REDIS_TELEMETRY_STREAM", "telemetry\u00a0teltonika", "without blanks"),
        ("REDIS_TELEMETRY_STREAM", "telemetry:\u200bteltonika", "without the invisible character U+200B"),
        ("REDIS_TELEMETRY_STREAM", "\ufefftelemetry:teltonika", "without the invisible character U+FEFF"),
        ("REDIS_TELEMETRY_STREAM", "tele\x1b[0mmetry", "without the invisible character U+001B"),
        ("REDIS_TELEMETRY_STREAM", "${STREAM}", "nothing has replaced the placeholder"),
        ("REDIS_TELEMETRY_STREAM", "$STREAM", "nothing has replaced the placeholder"),
        ("REDIS_TELEMETRY_STREAM", "$(STREAM)", "nothing has replaced the placeholder"),
        ("REDIS_CONSUMER_GROUP", "{{ .Values.group }}", "nothing has replaced the placeholder"),
        ("REDIS_URL", "redis://:${REDIS_PASSWORD}@h:6379", "nothing has replaced the placeholder"),
        ("REDIS_URL", "redis://h:6379/0#the-server", "a well-formed URL"),
        ("REDIS_URL", "redis://h:6379 # the server", "a well-formed URL"),
        ("REDIS_URL", "redis://u:a/b@h:6379", "a well-formed URL"),
        ("REDIS_URL", "redis://h:6379/zero", "a well-formed URL"),
        ("POSTGRES_URL", "postgresql://h/d#here", "a well-formed URL"),
        ("LIVE_HOST", '"0.0.0.0', "without quotes"),
        ("LIVE_HOST", "0.0.0.0:8081", "an address to listen on"),
        ("LIVE_HOST", "[::]:8081", "an address to listen on"),
        ("METRICS_HOST", "http://localhost", "an address to listen on"),
        ("METRICS_HOST", "", "an address to listen on"),
        ("BATCH_SIZE", "1e3", "a whole number"),
        ("BATCH_SIZE", "1,000", "a whole number"),
        ("BATCH_SIZE", "1.000,0", "a whole number"),
        ("BATCH_SIZE", "7 # few", "a whole number"),
        ("MIGRATE_ON_START", "true # always", "true or false"),
        ("LIVE_ALLOWED_ORIGINS", '"https://a.example","https://b.example"', "without quotes"),
        ("METRICS_PORT", "9090/tcp", "a whole number"),
    ],
)
def test_what_cannot_be_meant_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str, why: str) -> None:
    """A value that would be something else than it seems stops the start with one sentence that names the variable."""
    monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError, match=f"^{name} is [^\n]*, but must be [^\n]*{re.escape(why)}[^\n]*$"):
        load_settings()


@pytest.mark.parametrize("name", ["REDIS_URL ", "export REDIS_URL", "\ufeffREDIS_URL", "REDIS_URL\r", "$env:REDIS_URL"])
def test_names_that_are_nearly_ours_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A variable whose name has a blank or an invisible character in it is not overlooked."""
    monkeypatch.setenv(name, "redis://elsewhere")
    with pytest.raises(SettingsError, match=r"^REDIS_URL is set under the name "):
        load_settings()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfREDIS_TELEMETRY_STREAM=s\r\nBATCH_SIZE=7\r\n",
        b"export REDIS_TELEMETRY_STREAM=s\nBATCH_SIZE = 7\n",
        b"REDIS_TELEMETRY_STREAM = \"s\"  # a stream\r\nBATCH_SIZE='7'\r\n",
        b"  REDIS_TELEMETRY_STREAM=s   \n\n# BATCH_SIZE=8\nBATCH_SIZE=7 # few",
        b"redis_telemetry_stream=s\rBATCH_SIZE=7\r",
    ],
)
def test_files_as_editors_write_them(content: bytes) -> None:
    """`.env` is read with and without a byte order mark, with any line ends, blanks and `export`."""
    Path(".env").write_bytes(content)
    settings = load_settings()
    assert (settings.redis_telemetry_stream, settings.batch_size) == ("s", 7)


@pytest.mark.parametrize("line", ["POSTGRES_URL=postgresql://u:a#b@h/d", "POSTGRES_URL='postgresql://u:a#b@h/d' # x"])
def test_hash_in_a_password_of_the_file(line: str) -> None:
    """A # in a password is part of it, with quotes around the value and without."""
    Path(".env").write_text(line)
    assert load_settings().postgres_url == HIDDEN_PASSWORD


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("BATCH_SIZE: 7\n", "BATCH_SIZE cannot be read in line 1 of .env: write NAME=value."),
        ("A=1\nset BATCH_SIZE=7\n", "BATCH_SIZE cannot be read in line 2 of .env: write NAME=value."),
        *((f"{word} BATCH_SIZE=7\n", _LINE_1) for word in ("declare -x", "ENV", "- ")),
        ("setx BATCH_SIZE 7\n", _LINE_1),
        ("BATCH_SIZE\n", "BATCH_SIZE cannot be read in line 1 of .env: write NAME=value."),
        ('REDIS_TELEMETRY_STREAM="s\n', "REDIS_TELEMETRY_STREAM cannot be read in line 1 of .env: write NAME=value."),
        ("REDIS_URL=redis://:${NOBODY}@h\n", "REDIS_URL takes ${NOBODY} in .env, which is not set."),
        ("REDIS_TELEMETRY_STREAM=a\x00b\n", ".env is not UTF-8: save it as UTF-8."),
    ],
)
def test_lines_that_would_be_skipped_are_refused(content: str, sentence: str) -> None:
    """A line of `.env` that names one of our variables and cannot be read stops the start."""
    Path(".env").write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == sentence


@pytest.mark.parametrize("tail", ["", "/d", " #more"])
@pytest.mark.parametrize(("name", "scheme"), [("REDIS_URL", "redis"), ("POSTGRES_URL", "postgresql")])
def test_password_without_a_host_is_not_shown(name: str, scheme: str, tail: str) -> None:
    """A URL that ends in its password, as when a file cuts it at a `#`, is refused without showing that."""
    Path(".env").write_text(f"{name}={scheme}://user:hidden{tail}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(name)
    assert "hidden" not in str(caught.value)


def test_lines_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not ours may look as it likes, and what is taken from a variable that is set is taken."""
    monkeypatch.setenv("PASSWORD", "p")
    Path(".env").write_text("if true; then\nOTHER: 1\nOTHER=${NOBODY}\nREDIS_URL=redis://:${PASSWORD}@h${NO:-:1}\n")
    assert load_settings().redis_url == "redis://:p@h:1"


def test_a_file_in_another_encoding_is_refused() -> None:
    """What a Windows shell writes in two bytes a character is not taken for an empty file."""
    Path(".env").write_bytes("BATCH_SIZE=7\r\n".encode("utf-16-le"))
    with pytest.raises(SettingsError, match=r"^\.env is not UTF-8"):
        load_settings()


@pytest.mark.parametrize("service", ["live", "metrics", "redis", "postgres", "directus", "log", "roles"])
def test_links_of_services_are_left_out(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    """What Kubernetes sets for a Service changes no setting."""
    expected = load_settings(instance_id="me").model_dump()
    for name, text in LINK.items():
        monkeypatch.setenv(name.format(service.upper()), text)
    assert load_settings(instance_id="me").model_dump() == expected
    left_out = [f"{service.upper()}_PORT"] if service in {"live", "metrics"} else []
    assert service_links(Settings.model_fields) == left_out


def test_link_in_the_environment_does_not_hide_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port in `.env` counts beside a Service's link, which is not ours."""
    Path(".env").write_text("LIVE_PORT=8099\n")
    monkeypatch.setenv("LIVE_PORT", "tcp://10.43.0.7:8081")
    assert load_settings().live_port == 8099


def test_check_names_the_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """`telemetry check` shows the default that is used, and says what to do about the link."""
    monkeypatch.setenv("LIVE_PORT", "tcp://10.43.0.7:8081")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("POSTGRES_URL", "postgresql://127.0.0.1:1/d")
    lines = CliRunner().invoke(main, ["check"]).output.splitlines()
    [line] = [line for line in lines if line.startswith("ok     LIVE_PORT ") and "default" in line]
    assert " 8081 (default; a Kubernetes Service sets it too" in line
    assert "enableServiceLinks: false" in line
