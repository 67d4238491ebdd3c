"""Watch an event: python client.py http://localhost:8081/live 7 [Cookie header]."""  # noqa: INP001 - a script, not a module

import asyncio
import contextlib
import sys

import aiohttp


async def watch(url: str, event_id: str, cookie: str) -> None:
    """Print every position; come back after a lost connection with the cursor of the last frame."""
    # With `batch` a frame holds all positions that are sent together.
    request = {"type": "subscribe", "topic": f"event:{event_id}", "batch": True}
    async with aiohttp.ClientSession(headers={"Cookie": cookie}) as session:
        while True:
            try:
                async with session.ws_connect(url, heartbeat=30, compress=15) as socket:
                    await socket.send_json(request)
                    async for message in socket:
                        frame = message.json()
                        if frame["type"] == "error" and frame["code"] == "error":
                            break  # It passes: come back.
                        if frame["type"] == "error":
                            sys.exit(f"{frame['code']}: {frame['message']}")
                        for position in frame.get("snapshot") or frame.get("positions", []):
                            print(position["deviceId"], position["lat"], position["lon"], position["ts"], flush=True)  # noqa: T201
                        if frame["type"] == "removed":
                            print(frame["deviceId"], "is not shown any more", flush=True)  # noqa: T201
                        if frame.get("partial"):
                            print("the server's database is away: devices that are missing follow", file=sys.stderr)  # noqa: T201
                        request["since"] = frame.get("cursor", request.get("since"))
            except aiohttp.WSServerHandshakeError:
                await explain(session, url)
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(1)


async def explain(session: aiohttp.ClientSession, url: str) -> None:
    """Ask by plain HTTP why an upgrade was refused; wait if that passes, else end with the server's sentence."""
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get(url) as answer:
            refusal = await answer.json()
        if answer.status in {400, 401, 403, 404, 414, 431}:
            sys.exit(f"{refusal['code']}: {refusal['message']}")
        seconds = answer.headers.get("Retry-After", "")
        await asyncio.sleep(int(seconds) if seconds.isdigit() else 0)


if __name__ == "__main__":
    if len(sys.argv) < 3:  # noqa: PLR2004
        sys.exit(__doc__)
    asyncio.run(watch(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "session=none"))  # noqa: PLR2004
