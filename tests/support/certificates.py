"""Certificates for servers of tests, which run under another account."""

from __future__ import annotations

import os
from pathlib import Path

import trustme

from telemetry_app.tools.embedded.process import unprivileged_account


def write_certificates(folder: Path) -> None:
    """Write `server.pem` and `server.key` for 127.0.0.1, and the `ca.pem` that vouches for them."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
    issued.private_key_pem.write_to_path(folder / "server.key")
    give_to_server(folder)


def give_to_server(folder: Path) -> None:
    """Let the servers' account read a folder's files, keys alone, and write to its folders."""
    folder.chmod(0o755)
    account = unprivileged_account()
    for path in folder.iterdir():
        path.chmod(0o700 if path.is_dir() else 0o600 if path.suffix == ".key" else 0o644)
        if account:
            os.chown(path, account.uid, account.gid)
