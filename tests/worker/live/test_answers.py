"""What a whole worker answers and logs, with the settings that say who may come."""

from __future__ import annotations

import aiohttp

from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.app.live.directus.stand_in import DirectusServer
from tests.worker.conftest import Pipeline, StartWorker
from tests.worker.spectators import Spectators

SECRET = "of-nobodys-business"


async def refused(worker: WorkerProcess, **headers: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"{worker.live_url}/live", headers=headers) as answer:
        return answer.status, (await answer.json())["code"]


async def test_refusals(pipeline: Pipeline, spectators: Spectators, start_both: StartWorker) -> None:
    """Each has a code, and a line of the log that says what to change; nothing of a cookie is quoted."""
    await pipeline.database.execute("ALTER TABLE entries ALTER event_id TYPE uuid USING event_id::uuid")
    worker = start_both(LIVE_ALLOWED_ORIGINS="https://*.example.org, capacitor://localhost, null")
    await worker.wait_ready()
    session = spectators.cookie
    assert await refused(worker) == (401, "no-session")
    assert await refused(worker, Cookie=f"directus_refresh_token={SECRET}") == (401, "session-mode")
    assert await refused(worker, Cookie=session, Origin="https://evilexample.org") == (403, "origin")
    assert await refused(worker, Cookie=f"{session}; a={SECRET * 1000}") == (431, "headers-too-large")
    for origin in ("https://maps.example.org", "capacitor://localhost", "null"):
        async with spectators.connect(worker, Cookie=f"a={'x' * 15_000}; {session}", Origin=origin) as client:
            assert (await client.subscribe(spectators.event_id))["type"] == "subscribed"
            for no_event in (spectators.event_id.upper(), "   ", "007"):
                assert (await client.subscribe(no_event))["code"] == "not-found"
    log = worker.log_path.read_text()
    for line in (
        "refused (401 session-mode)",
        "refused (403 origin): Origin 'https://evilexample.org'",
        "refused (431 ",
    ):
        assert line in log
    assert SECRET not in log
    assert "Traceback" not in log


async def test_the_public(spectators: Spectators, start_both: StartWorker, directus: DirectusServer) -> None:
    """With LIVE_ALLOW_PUBLIC who has no session sees what everybody may, until everybody may not."""
    await directus.allow_public([spectators.event_id])
    worker = start_both(LIVE_ALLOW_PUBLIC="true", LIVE_REAUTHORIZE_MS="500", DIRECTUS_CACHE_MS="100")
    await worker.wait_ready()
    async with spectators.connect(worker, Cookie="theme=dark") as client:
        assert (await client.subscribe(spectators.event_id))["type"] == "subscribed"
        await directus.forbid_public()
        assert (await client.receive())["code"] == "forbidden"
