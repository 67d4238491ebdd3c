"""The application whose agents are tested: both sides, and nothing of it started."""

import uuid
from collections.abc import AsyncIterator

import pytest

with pytest.MonkeyPatch.context() as _environment:
    _environment.setenv("LIVE_AUTH", "none")
    from telemetry_app.app import app


@pytest.fixture(autouse=True)
async def flowing() -> AsyncIterator[None]:
    """Let Faust's queues flow, as a running worker does."""
    app.flow_control.resume()
    yield
    app.flow_control.suspend()


@pytest.fixture
def device_id() -> str:
    """A device of this test alone: the app and its table belong to the process."""
    return f"device-{uuid.uuid4().hex}"
