"""TimescaleDB and PostGIS on PostgreSQL 17: in a container where Docker answers, else from Debian's packages."""

import contextlib
import hashlib
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from testcontainers.community.postgres import PostgresContainer

from telemetry_app.tools.embedded.home import can_enter, enterable_temp_folder, owned_folder
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from telemetry_app.tools.embedded.process import unprivileged_account
from tests.support.servers.debian import PackagesUnavailableError, bind_programs, install_once
from tests.support.servers.server import TEST_SETTINGS, ExternalServer, Server, started

IMAGE = "timescale/timescaledb-ha:pg17"
SUITE = "trixie"
PACKAGES = ("postgresql-17-timescaledb", "postgresql-17-postgis-3")
# Three quarters of the download: the JIT compiler, raster formats, 3D geometry, what only package scripts call.
UNWANTED = re.compile(
    r"adduser|debconf|gdal|gnupg|libgdal|libllvm|libperl|libsfcgal|locales|openssl$|passwd|perl"
    r"|postgresql-client|postgresql-common|procps|ssl-cert|sysvinit|ucf"
)
SETTINGS = {
    "jit": "off",
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
}

DOCKER_TIMEOUT_S = 2.0

_CACHE = Path(__file__).parents[3] / ".cache" / "timescale"


@dataclass(frozen=True)
class Installation:
    """The unpacked packages."""

    prefix: Path

    @property
    def bin_dir(self) -> Path:
        return self.prefix / "usr/lib/postgresql/17/bin"

    @property
    def env(self) -> dict[str, str]:
        return {"PROJ_DATA": str(self.prefix / "usr/share/proj")}


@contextlib.contextmanager
def timescale_server(data_dir: Path) -> Iterator[Server]:
    """Run TimescaleDB with PostGIS for the time of the `with` block."""
    if _docker_answers():
        with PostgresContainer(IMAGE, username="postgres", dbname="postgres", driver=None) as container:
            yield ExternalServer(container.get_connection_url())
        return
    with started(embedded_timescale(data_dir)) as server:
        yield server


def embedded_timescale(data_dir: Path, settings: Mapping[str, str] = TEST_SETTINGS) -> EmbeddedPostgres:
    """Return a server of one's own from Debian's packages, not yet started.

    Raises:
        PackagesUnavailableError: They cannot be had here.
    """
    installation = installed()
    return EmbeddedPostgres(
        data_dir, bin_dir=installation.bin_dir, settings={**SETTINGS, **settings}, env=installation.env
    )


def _docker_answers() -> bool:
    # Not by the docker package: without an engine it leaves a socket open.
    engine = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    local = engine.scheme == "unix"
    try:
        with socket.socket(socket.AF_UNIX if local else socket.AF_INET) as connection:
            connection.settimeout(DOCKER_TIMEOUT_S)
            connection.connect(engine.path if local else (engine.hostname, engine.port))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(256).partition(b"\n")[0]
    except OSError:
        return False


def installed() -> Installation:
    """Return the unpacked packages, downloading them at first use.

    Processes that ask at the same time wait for the first of them.

    Raises:
        PackagesUnavailableError: They cannot be had here; the message says why and what else would do.
    """
    try:
        prefix = install_once(_folder(), PACKAGES, of_suite=SUITE, unwanted=UNWANTED, adapt=_adapt)
    except PackagesUnavailableError as error:
        raise PackagesUnavailableError(
            f"TimescaleDB for the tests cannot be had from Debian's packages: {error}\n"
            "Set TEST_TIMESCALE_URL to a server of your own, or start Docker."
        ) from error
    return Installation(prefix)


def _folder() -> Path:
    """Return the cache, or a folder for temporary files where the server's account cannot enter the cache."""
    account = unprivileged_account()
    _CACHE.mkdir(parents=True, exist_ok=True)
    if can_enter(_CACHE, account):
        return _CACHE
    name = hashlib.sha256(os.fsencode(_CACHE)).hexdigest()[:16]
    return owned_folder(enterable_temp_folder(account) / f"telemetry-timescale-{name}")


def _adapt(unpacked: Path, final: Path) -> None:
    """Make the unpacked files run from `final`, where they will be renamed to."""
    server = unpacked / "usr/lib/postgresql/17"
    linker = next(unpacked.glob("usr/lib/*-linux-gnu*/ld-linux*.so.*"), None)
    if linker is None:
        raise PackagesUnavailableError("the packages hold no dynamic linker")
    libraries = linker.parent
    programs = [server / "bin" / name for name in ("postgres", "initdb")]
    bind_programs(programs, libraries, final_libraries=final / libraries.relative_to(unpacked))
    for plugin in (server / "lib").glob("llvmjit*"):
        plugin.unlink()
    # Installing the package would make this link through the alternatives system.
    extensions = unpacked / "usr/share/postgresql/17/extension"
    shutil.copy2(extensions / "postgis-3.control", extensions / "postgis.control")
