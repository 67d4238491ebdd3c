"""The proxies of deploy/proxies, run as they are but for addresses, ports and certificates."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from telemetry_app.tools.embedded.ports import free_port
from telemetry_app.tools.embedded.process import ChildProcess, Command
from tests.conftest import PROJECT
from tests.support.servers.packaged import nginx

FOLDER = PROJECT / "deploy" / "proxies"
HOST = "maps.example.org"

_NGINX = """
daemon off; user {user}; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; scgi_temp_path {folder}/s; uwsgi_temp_path {folder}/u;
    {snippet}
}}
"""
# No certificates from the internet, no ports of the machine, no files outside.
_CADDY = """
{{
	admin off
	auto_https off
	persist_config off
	storage file_system {folder}/storage
}}
{snippet}
"""


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs.

    Attributes:
        http_port: Where it serves without TLS, None where it does not.
        https_port: Where it serves with TLS.
        log_path: What it says.
    """

    http_port: int | None
    https_port: int
    log_path: Path


@dataclass(frozen=True)
class Certificate:
    """Files with the certificate of `HOST` and its key."""

    chain: Path
    key: Path


def write_certificate(authority: trustme.CA, folder: Path) -> Certificate:
    issued = authority.issue_cert(HOST)
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    return Certificate(chain, key)


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """Return a text with patterns replaced, each of which is there."""
    for pattern, replacement in replacements.items():
        text, times = re.subn(pattern, replacement, text)
        assert times, f"{pattern} is not there"
    return text


@contextmanager
def running_nginx(backends: tuple[int, int], certificate: Certificate, folder: Path, **others: str) -> Iterator[Proxy]:
    """Run nginx in front of two live ports.

    Args:
        backends: The ports.
        certificate: Of `HOST`.
        folder: For its files.
        others: Headers that it sends otherwise than deploy/proxies says.
    """
    plain, tls = free_port(), free_port()
    snippet = replaced(
        (FOLDER / "nginx.conf").read_text(),
        {
            r"live-1:8081": f"127.0.0.1:{backends[0]}",
            r"live-2:8081": f"127.0.0.1:{backends[1]}",
            r"listen 80;": f"listen 127.0.0.1:{plain};",
            r"listen 443 ssl;": f"listen 127.0.0.1:{tls} ssl;",
            r"listen \[::\]:\d+( ssl)?;": "",
            r"/etc/ssl/\S+\.pem": str(certificate.chain),
            r"/etc/ssl/\S+\.key": str(certificate.key),
        }
        | {rf"(proxy_set_header {header} +)\S+;": rf"\g<1>{value};" for header, value in others.items()},
    )
    user = "root" if os.geteuid() == 0 else "nobody"
    path = folder / "nginx.conf"
    path.write_text(_NGINX.format(user=user, folder=folder, snippet=snippet))
    program = nginx()
    with _running([str(program.executable), "-p", str(folder), "-c", str(path), "-e", "stderr"], folder, program.env):
        yield Proxy(plain, tls, folder / "log")


@contextmanager
def running_caddy(backends: tuple[int, int], certificate: Certificate, folder: Path) -> Iterator[Proxy]:
    tls = free_port()
    snippet = replaced(
        (FOLDER / "Caddyfile").read_text(),
        {
            r"live-1:8081": f"127.0.0.1:{backends[0]}",
            r"live-2:8081": f"127.0.0.1:{backends[1]}",
            rf"(?m)^{re.escape(HOST)} {{": f"https://{HOST}:{tls} {{\n\ttls {certificate.chain} {certificate.key}",
        },
    )
    path = folder / "Caddyfile"
    path.write_text(_CADDY.format(folder=folder, snippet=snippet))
    with _running([caddy(), "run", "--config", str(path), "--adapter", "caddyfile"], folder, {"HOME": str(folder)}):
        yield Proxy(None, tls, folder / "log")


def caddy() -> str:
    found = shutil.which("caddy", path=str(Path(sys.executable).parent))
    assert found is not None
    return found


@contextmanager
def _running(argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    environment = {"PATH": os.environ["PATH"], **env}
    child = ChildProcess(Command(argv=argv, cwd=folder, log_path=folder / "log", env=environment))
    child.start()
    try:
        yield
    finally:
        child.kill()
