"""What every server of the tests has in common."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from telemetry_app.tools.embedded.server import EmbeddedServer

# Nobody needs a test's data after a power cut. After a kill they do: commits stay synchronous.
TEST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


class Server(Protocol):
    """A server that clients can connect to."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class ExternalServer:
    """A server that somebody else runs."""

    url: str


def server_folder() -> Path:
    """Return a new folder directly below the system's temporary files, where the servers' account gets to."""
    return Path(tempfile.mkdtemp(prefix="telemetry-test-"))


@contextlib.contextmanager
def started(server: EmbeddedServer) -> Iterator[Server]:
    """Run a server and remove all traces of it."""
    try:
        server.start()
        yield server
    finally:
        server.discard()
