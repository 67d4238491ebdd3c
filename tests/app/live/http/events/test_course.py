"""The course of an event by plain HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from telemetry_app.live.http.events import course
from telemetry_app.live.wire.course import fit_course
from tests.app.live.directus.rights import EIGHT, SEVEN, Spectator
from tests.app.live.directus.stand_in import DirectusServer
from tests.app.live.harness import Details, LiveFactory, Side

COURSE = fit_course({"type": "LineString", "coordinates": [[n / 1000, 42.0] for n in range(1000)]})


async def get(side: Side, event_id: str = SEVEN, **headers: str) -> tuple[int, Any, Any]:
    address = f"{side.url}{course.PATH}"
    given = {"Cookie": side.cookie, **headers}
    async with side.http.get(address, params={"event": event_id}, headers=given) as answer:
        body = await answer.read()
        return answer.status, json.loads(body) if body else None, answer.headers


async def test_a_course_is_sent_once(live: LiveFactory) -> None:
    """It is GeoJSON, compressed for whoever takes that, and not sent again while it is the same."""
    async with live(devices={SEVEN: []}, details=Details({}, COURSE)) as side:
        status, body, headers = await get(side)
        assert (status, body) == (200, json.loads(COURSE))
        assert (headers["Cache-Control"], headers["Content-Encoding"]) == ("private, no-cache", "gzip")
        assert int(headers["Content-Length"]) < len(COURSE) / 3
        assert (await get(side, **{"If-None-Match": headers["ETag"]}))[:2] == (304, None)
        assert (await get(side, **{"Accept-Encoding": "identity"}))[1] == body


async def test_without_a_course(live: LiveFactory) -> None:
    """It is an empty collection, which no browser reports as a failure."""
    async with live(devices={SEVEN: []}) as side:
        assert (await get(side))[:2] == (200, {"type": "FeatureCollection", "features": []})


async def test_rights_are_those_of_a_subscription(
    live: LiveFactory, directus: DirectusServer, spectator: Spectator
) -> None:
    """Nobody gets the course of an event that Directus does not show to the session."""
    await directus.allow(spectator.user_id, [EIGHT])
    async with live(devices={SEVEN: []}, details=Details({}, COURSE)) as side:
        assert [(await get(side, event_id))[0] for event_id in (SEVEN, EIGHT, "")] == [403, 200, 400]
        assert (await get(side, EIGHT, Cookie="x=y"))[0] == 401
        assert (await get(side, EIGHT, Origin="https://elsewhere.example"))[0] == 403


@pytest.mark.parametrize("event_id", ["../users", "x" * 300, "\x00"])
async def test_odd_ids(live: LiveFactory, event_id: str) -> None:
    """An id that no event can have is refused like any other."""
    async with live(devices={SEVEN: []}, details=Details({}, COURSE)) as side:
        assert (await get(side, event_id))[0] in {400, 403, 404}
