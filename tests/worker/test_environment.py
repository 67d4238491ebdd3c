"""A worker where somebody has set what Faust reads from the environment."""

import sys
from pathlib import Path

import pytest

from telemetry_app.tools.embedded.ports import free_port
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record, until_drained

FAUST = (str(Path(sys.executable).parent / "faust"), "-A", "telemetry_app.app", "worker", "-l", "info")
TELEMETRY = (sys.executable, "-m", "telemetry_app", "worker")


@pytest.mark.parametrize("command", [pytest.param(FAUST, id="faust"), pytest.param(TELEMETRY, id="telemetry")])
async def test_variables_of_faust_do_not_touch_a_worker(
    pipeline: Pipeline, start_worker: StartWorker, command: tuple[str, ...]
) -> None:
    """With Faust's ten worst variables set, a worker is ready, stores every record and leaves in order."""
    await pipeline.publish([record(device, 0) for device in range(20)])
    worker = start_worker(
        command=command,
        APP_STORE="memory://",
        APP_VERSION="7",
        BROKER_URL="redis://127.0.0.1:1",
        FAUST_DATADIR="/nowhere",
        PROCESSING_GUARANTEE="exactly_once",
        STREAM_BUFFER_MAXSIZE="100000",
        STREAM_WAIT_EMPTY="false",
        TOPIC_PARTITIONS="7",
        WEB_BIND="192.0.2.1",
        WEB_PORT=str(free_port()),
    )
    await worker.wait_ready()
    await eventually(pipeline.drained, message="every record is read and acknowledged")
    await until_drained(pipeline)
    assert await pipeline.stored() == 20
    assert len(await pipeline.states()) == 20
    assert await worker.stop() == 0


async def test_variables_as_containers_hand_them_over(pipeline: Pipeline, start_worker: StartWorker) -> None:
    """With quotes kept around values and the links of Kubernetes' Services, a worker reads the stream that is meant."""
    await pipeline.publish([record(device, 0) for device in range(20)])
    worker = start_worker(
        REDIS_TELEMETRY_STREAM=f'"{pipeline.stream}"\r',
        REDIS_URL=f"'{pipeline.env['REDIS_URL']}'",
        ROLES='"write"',
        LIVE_PORT="tcp://10.43.0.7:8081",
        LIVE_PORT_8081_TCP_ADDR="10.43.0.7",
        REDIS_PORT="tcp://10.43.0.8:6379",
    )
    await worker.wait_ready()
    await until_drained(pipeline)
    assert await pipeline.stored() == 20
    assert await worker.stop() == 0
    [warning] = [line for line in worker.log_path.read_text().splitlines() if "enableServiceLinks" in line]
    assert "LIVE_PORT;" in warning
