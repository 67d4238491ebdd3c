"""What whole workers answer to `/readyz` when Redis does not let them work, or others do the work."""

import uuid
from typing import Any

import aiohttp

from telemetry_app.tools.embedded.worker import WorkerProcess
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker


async def readiness(worker: WorkerProcess) -> tuple[int, dict[str, Any]]:
    """Return status and body; 0 while nobody answers."""
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{worker.metrics_url}/readyz") as answer:
            return answer.status, await answer.json()
    except aiohttp.ClientConnectionError:
        return 0, {"checks": {}}


async def test_readiness_says_why_and_who_stands_by(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """A worker that may not run scripts says so until it may; a second one is ready and says that it stands by."""
    user = f"user-{uuid.uuid4().hex}"
    redis: Any = pipeline.redis
    await redis.execute_command("ACL", "SETUSER", user, "on", "nopass", "~*", "&*", "+@all", "-evalsha")
    try:
        url = pipeline.env["REDIS_URL"].replace("redis://", f"redis://{user}:x@")
        worker = start_worker(REDIS_URL=url)

        async def why() -> str:
            status, body = await readiness(worker)
            return str(body["checks"].get("consumer", "")) if status == 503 else ""

        async def names_the_command() -> bool:
            return "evalsha" in await why()

        await eventually(names_the_command, timeout_s=30, message="the reason names the command")
        await redis.execute_command("ACL", "SETUSER", user, "+@all")
        await worker.wait_ready()
        assert "notes" not in (await readiness(worker))[1]
        standby = start_worker()
        await standby.wait_ready()
        status, body = await readiness(standby)
        assert (status, body["checks"]["consumer"]) == (200, "ok")
        assert body["notes"]["consumer"].startswith("stands by: ")
    finally:
        await redis.execute_command("ACL", "DELUSER", user)
