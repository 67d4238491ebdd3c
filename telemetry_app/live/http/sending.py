"""Sending a file: in time or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.web_request import BaseRequest

    from telemetry_app.serving.lobby import Lobby

#: Longest time that sending a file may take.
_SEND_S: Final = 300.0


@contextlib.asynccontextmanager
async def sending_file(request: BaseRequest, lobby: Lobby) -> AsyncIterator[None]:
    """Count a file that is sent in the block, and cut the connection of a client that is too slow.

    Raises:
        ConnectionError: The client left, or was too slow. aiohttp takes that as an ordinary end, and so it is.
    """
    try:
        with lobby.file():
            async with asyncio.timeout(_SEND_S):
                yield
    except TimeoutError:
        # Part of the file was sent, so the answer cannot be anything else any more.
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError("the client did not take the file in time") from None
    except RuntimeError as error:
        # asyncio's error for a connection that has closed between headers and file.
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the client left") from error
        raise
