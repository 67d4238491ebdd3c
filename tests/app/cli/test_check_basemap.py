"""What `telemetry check` says of the base map."""

from pathlib import Path

import pytest

from telemetry_app.cli.findings import dependencies
from telemetry_app.cli.findings.finding import Finding
from telemetry_app.settings import load_settings
from tests.support.archives import archive

NOBODY = {"redis_url": "redis://127.0.0.1:1", "postgres_url": "postgresql://u@127.0.0.1:1/d", "metrics_port": 0}


async def look(monkeypatch: pytest.MonkeyPatch, **overrides: str) -> Finding | None:
    """Return the finding about the base map, if there is one."""
    monkeypatch.setattr(dependencies, "TIMEOUT_S", 1.0)
    findings = dependencies.dependencies(load_settings(**{**NOBODY, "live_auth": "none", **overrides}))
    found = {finding.name: finding async for finding in findings}
    return found.get("base map")


async def test_an_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An archive that can be shown is ok, with what is in it."""
    path = tmp_path / "race.pmtiles"
    path.write_bytes(archive(size=1_234_567))
    assert await look(monkeypatch, roles="live", live_basemap=str(path)) == Finding(
        "base map",
        ok=True,
        text="1.2 MB of vector tiles, zoom 0 to 15, longitude 21.300 to 21.500, latitude 41.900 to 42.100",
    )


async def test_no_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a file is wrong; no name at all is ok, and where nothing is shown nothing is looked at."""
    missing = await look(monkeypatch, roles="live", live_basemap="missing.pmtiles")
    assert missing is not None
    assert (missing.ok, missing.text.partition(":")[0]) == (
        False,
        "LIVE_BASEMAP is 'missing.pmtiles', but there is no such file",
    )
    unset = await look(monkeypatch, roles="live")
    assert unset is not None
    assert unset.ok
    assert await look(monkeypatch, roles="write", live_basemap="missing.pmtiles") is None
