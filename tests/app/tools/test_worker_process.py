"""A worker as a process: probes, exit codes, logs, and no process left."""

import signal
import sys

import psutil
import pytest

from telemetry_app.tools.embedded.process import EmbeddedServerError
from tests.conftest import WorkerFactory
from tests.support.waiting import eventually

# A stand-in for the worker: answers its probe with READY, and ends with 3 on SIGTERM.
WORKER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(os.environ["READY"]) if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b"database missing")
    def log_message(self, *_):
        pass  # a line for each probe would push the others out of the log's end
server = http.server.HTTPServer((os.environ["METRICS_HOST"], int(os.environ["METRICS_PORT"])), Handler)
print("serving", flush=True)
server.serve_forever()
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(999)"


async def test_worker_is_started_probed_and_stopped(worker_process: WorkerFactory) -> None:
    """A worker gets its environment, is ready when its probe says so, and its exit code is handed back."""
    worker = worker_process({"READY": "200"}, [sys.executable, "-c", WORKER])
    await worker.wait_ready()
    process = psutil.Process(worker.pid)
    assert process.environ()["READY"] == "200"
    assert "TEST_POSTGRES_URL" not in process.environ()
    assert worker.exit_code is None
    assert await worker.stop(signal.SIGTERM) == 3
    assert worker.exit_code == 3


async def test_killed_worker_reports_the_signal(worker_process: WorkerFactory) -> None:
    """`kill()` ends a worker at once with SIGKILL."""
    worker = worker_process({"READY": "200"}, [sys.executable, "-c", WORKER])
    await worker.wait_ready()
    assert worker.kill() == -signal.SIGKILL


async def test_unready_worker_is_an_error_with_answer_and_log(worker_process: WorkerFactory) -> None:
    """A worker that does not get ready is an error with the probe's answer and the worker's log."""
    worker = worker_process({"READY": "503"}, [sys.executable, "-c", WORKER])
    await eventually(lambda: "serving" in worker.log_tail())
    with pytest.raises(EmbeddedServerError, match="was not ready within 1 s") as error:
        await worker.wait_ready(timeout_s=1)
    assert "503 database missing" in str(error.value)
    assert "serving" in str(error.value)


async def test_worker_that_ends_early_is_an_error_with_its_log(worker_process: WorkerFactory) -> None:
    """A worker that ends instead of getting ready is an error at once, with exit code and log."""
    worker = worker_process({}, [sys.executable, "-c", "import sys; print('no settings'); sys.exit(5)"])
    with pytest.raises(EmbeddedServerError, match="ended with status 5 before it was ready") as error:
        await worker.wait_ready()
    assert "no settings" in str(error.value)


async def test_worker_that_does_not_stop_is_killed_and_an_error(worker_process: WorkerFactory) -> None:
    """A worker that ignores SIGTERM fails the test, and is gone."""
    worker = worker_process({}, [sys.executable, "-c", DEAF])
    await eventually(lambda: "deaf" in worker.log_tail())
    with pytest.raises(EmbeddedServerError, match=r"did not end within 0\.1 s of SIGTERM") as error:
        await worker.stop(timeout_s=0.1)
    assert "deaf" in str(error.value)
    assert worker.exit_code == -signal.SIGKILL
