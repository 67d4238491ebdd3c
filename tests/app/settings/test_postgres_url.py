"""Connection strings, as clouds print them and people write them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from telemetry_app.postgres_url.options import OPTIONS, Handling
from telemetry_app.postgres_url.url import PostgresUrl, PostgresUrlError, parse
from tests.conftest import PROJECT

#: As the consoles of Neon, Supabase, Vercel, Azure, Aiven, Google's Cloud SQL and RDS print them, and Prisma's form.
PRINTED = [
    "postgresql://u:p@ep-x-pooler.eu-central-1.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
    "postgres://postgres.ref:p@aws-0-eu.pooler.supabase.com:6543/postgres?sslmode=require&supa=base-pooler.x",
    "postgresql://u:p@h:6543/d?pgbouncer=true&connection_limit=1&pool_timeout=20&schema=public&sslaccept=strict",
    "postgresql://u%40server:p@server.postgres.database.azure.com/d?sslmode=require",
    "postgres://avnadmin:p@pg-1.aivencloud.com:12345/defaultdb?sslmode=require",
    "postgresql://u:p@localhost/d?host=/cloudsql/project:region:instance",
    "postgresql://h/d?connect_timeout=10&keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5",
    "postgresql://h1,h2:5433/d?target_session_attrs=read-write&load_balance_hosts=disable&application_name=app",
    "postgresql://h/d?gssencmode=disable&sslcompression=0&options=-c%20search_path%3Dmine",
    "postgresql://h/d?options=endpoint%3Dep-x&sslnegotiation=direct&sslmode=require&uselibpqcompat=true",
]
REFUSED = {
    "postgresql://h/d?sslmode=required": "sslmode is disable, allow, prefer, require, verify-ca or verify-full",
    "postgresql://h/d?sslmode=verify_full": "sslmode is ",
    "postgresql://h/d?sslMode=require": "without the option sslMode",
    "postgresql://h/d?tcpKeepAlive=true": "without the option tcpKeepAlive",
    "postgresql://h/d?channel_binding=yes": "channel_binding is disable, prefer or require",
    "postgresql://h/d?gssencmode=require": "gssencmode is disable or prefer",
    "postgresql://h/d?target_session_attrs=master": "target_session_attrs is any, ",
    "postgresql://h/d?connect_timeout=10s": "connect_timeout is a whole number",
    "postgresql://h/d?sslrootcert=/no/such.pem&sslmode=verify-ca": "sslrootcert is a file that can be read",
    "postgresql://h/d?sslmode=verify-full": "with sslrootcert",
    "postgresql://h/d?sslnegotiation=direct": "sslmode is require",
    "postgresql://h/d?options=-c%20nonsense=1": "options have no nonsense",
    "postgresql://h/d?options=-x": "only -c name=value",
    "postgresql://h/d?schema=a';drop": "search_path has only letters",
    "postgresql://h/d?sslmode": "sslmode has a value",
    "postgresql://h/d?ssl_min_protocol_version=1.2": "ssl_min_protocol_version is TLSv1",
    "postgresql://h:0/d": "ports are numbers from 1 to 65535",
    "postgresql://h1,h2/d?port=1,2,3": "one port, or as many as hosts",
    "postgresql://u:p/w@h/d": "written %2F",
    "postgresql://[::1/d": "hosts and ports are well-formed",
    "postgresql://u%00:p@h/d": "without %00",
}


@pytest.fixture(autouse=True)
def _without_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def meant(url: str) -> tuple[Any, ...]:
    it: PostgresUrl = parse(url)
    return it.hosts, it.ports, it.user, it.password, it.database


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://localhost:5432/postgres", (("localhost",), (5432,), None, None, "postgres")),
        ("postgres://u:p%40%2F%23%3F%25@h/d%20e", (("h",), (), "u", "p@/#?%", "d e")),
        ("postgresql://u:a@b#c:d@h/e", (("h",), (), "u", "a@b#c:d", "e")),
        ("postgresql://u:a?b#c@h/d", (("h",), (), "u", "a?b#c", "d")),
        ("postgresql://u:p@h?user=other@host", (("h",), (), "other@host", "p", None)),
        ("postgresql://u@[::1]:5433,[fe80::2],h:1/d", (("::1", "fe80::2", "h"), (5433, 5432, 1), "u", None, "d")),
        ("postgresql://%2Frun%2Fpostgresql/d", (("/run/postgresql",), (), None, None, "d")),
        ("postgresql:///d?host=/run/postgresql&port=6432", (("/run/postgresql",), (6432,), None, None, "d")),
        ("postgresql://localhost?host=/run/postgresql", (("/run/postgresql",), (), None, None, None)),
        ("postgresql://h:6432/d?host=/run/postgresql", (("/run/postgresql",), (6432,), None, None, "d")),
        ("postgresql://h:6432/d?host=other&port=1", (("other",), (1,), None, None, "d")),
        ("postgresql://u@localhost/d?host=/cloudsql/p:r:i", (("/cloudsql/p:r:i",), (), "u", None, "d")),
        ("postgresql://h/d?password=a+b&dbname=e&user=v", (("h",), (), "v", "a+b", "e")),
        ("postgresql://h1,h2/d?port=6432", (("h1", "h2"), (6432, 6432), None, None, "d")),
        ("postgresql:///d", ((), (), None, None, "d")),
    ],
)
def test_addresses(url: str, expected: tuple[Any, ...]) -> None:
    """Hosts, ports, user, password and database are those that libpq would take."""
    assert meant(url) == expected


@pytest.mark.parametrize("url", PRINTED)
def test_printed_by_clouds(url: str) -> None:
    """What clouds print is understood, and the client library is told only what it knows."""
    assert all(OPTIONS[name].handling is Handling.PASSED_ON for name in parse(url).client)


@pytest.mark.parametrize(("url", "why"), REFUSED.items())
def test_refused(url: str, why: str) -> None:
    """What cannot be meant is refused by name."""
    with pytest.raises(PostgresUrlError, match=r"^a (?:well-formed )?URL") as caught:
        parse(url)
    assert why in str(caught.value)


def test_what_is_made_of_options() -> None:
    """What is honoured here ends where it takes effect."""
    it = parse(
        "postgresql://h/d?ssl=true&connect_timeout=7&pgbouncer=true&application_name=mine&schema=a"
        "&options=-c%20synchronous_commit%3Doff%20--work_mem%3D8MB%20-cjit%3Don%20project%3Dx"
    )
    assert it.client == {"sslmode": "require"}
    assert it.startup == {"application_name": "mine", "options": "project=x"}
    assert it.session == {"search_path": '"a"', "synchronous_commit": "off", "work_mem": "8MB"}
    assert (it.connect_timeout_s, it.transaction_pooler) == (7, True)
    assert parse("postgresql://h/d?connect_timeout=0&pgbouncer=false").connect_timeout_s is None


def test_the_handbook_lists_the_options() -> None:
    """docs/operations.md has every option, with what becomes of it and why."""
    listed = {
        name: (handling, why)
        for line in (PROJECT / "docs" / "operations.md").read_text().splitlines()
        if len(cells := line.strip("| ").split(" | ")) == 3
        for handling, why in [cells[1:]]
        if handling in {"honoured", "left out"}
        for name in re.findall(r"`(\w+)`", cells[0])
    }
    assert listed == {name: (option.handling.value.partition(",")[0], option.why) for name, option in OPTIONS.items()}


def test_the_systems_authorities() -> None:
    """`sslrootcert=system` means the file that the system keeps them in, and that names are checked."""
    client = parse("postgresql://h/d?sslrootcert=system").client
    assert client["sslmode"] == "verify-full"
    assert Path(client["sslrootcert"]).exists()


def test_no_password_is_shown() -> None:
    """What is parsed shows no password."""
    assert "secret" not in repr(parse("postgresql://u:secret@h/d?sslpassword=secret"))
