"""Connection strings tried on a real server: TLS, unix sockets, and what the environment has besides."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import trustme

from telemetry_app.database.postgres import connect
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from tests.support.certificates import give_to_server, write_certificates
from tests.support.servers.server import TEST_SETTINGS, server_folder, started
from tests.support.servers.timescale import embedded_timescale

PASSWORD: Final = "p@ss/word #1"
#: As libpq knows them, each set to what would lead elsewhere or be refused.
FOREIGN: Final = {
    "PGHOST": "nowhere.invalid",
    "PGPORT": "1",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGDATABASE": "none",
    "PGSERVICE": "none",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGTARGETSESSIONATTRS": "standby",
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGSSLROOTCERT": "/no/such.pem",
    "PGSSLCRL": "/no/such.pem",
    "PGSSLCERT": "/no/such.pem",
    "PGSSLKEY": "/no/such.pem",
    "PGSSLMINPROTOCOLVERSION": "nonsense",
    "PGSSLMAXPROTOCOLVERSION": "nonsense",
    "PGKRBSRVNAME": "nonsense",
    "PGGSSLIB": "nonsense",
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Files that the server's account may read: certificate, key, who may come in; and its socket."""
    folder = server_folder()
    write_certificates(folder)
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    (folder / "hba").write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
    (folder / "socket").mkdir()
    give_to_server(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server that takes strangers only over TLS and by password, and neighbours by its socket."""
    settings = {
        "ssl": "on",
        "ssl_cert_file": str(folder / "server.pem"),
        "ssl_key_file": str(folder / "server.key"),
        "hba_file": str(folder / "hba"),
        "unix_socket_directories": str(folder / "socket"),
    }
    # Of Debian's packages: the wheel's server knows no TLS.
    server = embedded_timescale(server_folder(), settings={**TEST_SETTINGS, **settings})
    with started(server):
        asyncio.run(_create_role(server, folder))
        yield server


async def _create_role(server: EmbeddedPostgres, folder: Path) -> None:
    neighbour = await connect(f"postgresql://postgres@/postgres?host={folder}/socket&port={server.port}")
    await neighbour.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
    await neighbour.close()


@pytest.fixture
def address(server: EmbeddedPostgres) -> str:
    return f"postgresql://app:p%40ss%2Fword%20%231@127.0.0.1:{server.port}/postgres"


async def encryption(url: str) -> str | None:
    """Return the version of TLS that a session has."""
    connection = await connect(url, attempts=1)
    try:
        version: str | None = await connection.fetchval("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        return version
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "options",
    [
        "",
        "?sslmode=require",
        "?sslmode=prefer",
        "?ssl=true",
        "?sslmode=verify-ca&sslrootcert={folder}/ca.pem",
        "?sslmode=verify-full&sslrootcert={folder}/ca.pem",
        "?sslmode=require&sslnegotiation=direct",
        "?sslmode=require&ssl_min_protocol_version=TLSv1.3",
    ],
)
async def test_over_tls(address: str, folder: Path, options: str) -> None:
    """Each way of asking for TLS, and asking for nothing, gets it."""
    assert await encryption(address + options.format(folder=folder)) == "TLSv1.3"


async def test_a_stranger_is_not_spoken_to(address: str, folder: Path) -> None:
    """A server whose certificate nobody vouches for, or that goes by another name, is told no password."""
    for mode in ("verify-ca", "verify-full"):
        with pytest.raises(ssl.SSLCertVerificationError):
            await encryption(f"{address}?sslmode={mode}&sslrootcert={folder}/other.pem")
    named = address.replace("127.0.0.1", "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await encryption(f"{named}?sslmode=verify-full&sslrootcert={folder}/ca.pem")


async def test_without_tls_a_server_that_demands_it_refuses(address: str) -> None:
    """What `sslmode=disable` asks for is done."""
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="no encryption"):
        await encryption(f"{address}?sslmode=disable")


async def test_by_a_unix_socket(server: EmbeddedPostgres, folder: Path) -> None:
    """A socket's folder may be the host, quoted or as an option."""
    quoted = str(folder / "socket").replace("/", "%2F")
    for url in (
        f"postgresql://app@/postgres?host={folder}/socket&port={server.port}",
        f"postgresql://app@{quoted}:{server.port}/postgres",
        f"postgresql://app@localhost:{server.port}/postgres?host={folder}/socket&sslmode=require",
    ):
        assert await encryption(url) is None


async def test_of_several_hosts_the_one_that_answers(address: str, unused_tcp_port: int) -> None:
    """Over TLS too, one that is gone is passed by."""
    several = address.replace("127.0.0.1:", f"127.0.0.1:{unused_tcp_port},127.0.0.1:")
    assert await encryption(f"{several}?sslmode=require&target_session_attrs=read-write") == "TLSv1.3"


async def test_foreign_variables_are_left_out(
    plain_postgres_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What PostgreSQL's own programs read changes nothing of where we go, and the log names it once."""
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        connection: Any = await connect(plain_postgres_url, attempts=1)
        assert await connection.fetchval("SHOW transaction_read_only") == "off"
        await connection.close()
    [said] = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert said == f"{', '.join(FOREIGN)}: left out, since only POSTGRES_URL says where the database is"


async def test_gaps_are_filled_with_defaults(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """User and database that a connection string does not name are this process's user, whatever else there is."""
    neighbour = f"postgresql://{{}}?host={folder}/socket&port={server.port}"
    monkeypatch.setenv("LOGNAME", "app")
    for name in ("PGUSER", "PGDATABASE", "PGHOST", "PGPASSWORD"):
        monkeypatch.setenv(name, "foreign")
    with pytest.raises(asyncpg.InvalidCatalogNameError, match='"app"'):
        await encryption(neighbour.format(""))
    assert await encryption(neighbour.format("/postgres")) is None


async def test_a_password_file_is_read(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PGPASSFILE says where passwords are, and counts for a connection string without one."""
    file = tmp_path / "passwords"
    file.write_text(f"127.0.0.1:{server.port}:postgres:app:{PASSWORD}\n")
    file.chmod(0o600)
    url = f"postgresql://app@127.0.0.1:{server.port}/postgres?sslmode=require"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await encryption(url)
    assert await encryption(f"{url}&passfile={file}") == "TLSv1.3"
    monkeypatch.setenv("PGPASSFILE", str(file))
    assert await encryption(url) == "TLSv1.3"
