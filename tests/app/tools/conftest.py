"""Servers of a test's own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry_app.tools.embedded.postgres import EmbeddedPostgres
from telemetry_app.tools.embedded.server import EmbeddedServer
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from tests.support.servers.server import server_folder

KINDS = [EmbeddedValkey, EmbeddedPostgres]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that a server may use."""
    path = server_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[EmbeddedServer]:
    """Each kind of server, not started."""
    made: EmbeddedServer = request.param(folder)
    yield made
    made.discard()
