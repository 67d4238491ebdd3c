"""A worker as a process of its own, to be killed: `python -m tests.transport.worker URL STREAM OPTIONS-AS-JSON`."""

import asyncio
import json
import sys

from tests.transport.apps import TransportApp


async def main(url: str, stream: str, options: str) -> None:
    """Run until killed."""
    await TransportApp(stream, url, **json.loads(options)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
