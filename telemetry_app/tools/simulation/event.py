"""The tables that belong to Directus in production, with one event in which a rider has each device of the demo."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from telemetry_app.tools.simulation.track import SKOPJE_LOOP

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

EVENT_ID = 1

_TABLES = """
CREATE TABLE events (id integer PRIMARY KEY, name text NOT NULL, course json);
CREATE TABLE entries (
    id integer PRIMARY KEY, event_id integer NOT NULL REFERENCES events,
    name text, number integer, class text, color text
);
CREATE TABLE entry_devices (
    id integer PRIMARY KEY, entry_id integer NOT NULL REFERENCES entries, device_id text NOT NULL
);
"""


_FIRST_NAMES = (
    "Ana", "Marko", "Elena", "Stefan", "Ivana", "Nikola", "Maja", "Filip", "Sara", "Luka", "Teodora", "Bojan", "Zoë",
    "Jürgen", "Aïcha", "Søren", "Łucja", "Mateo", "Inês", "Yuki", "Niamh", "Andrej", "Chloé",
)  # fmt: skip
_LAST_NAMES = (
    "Petrova", "Ristov", "Dimitrova", "Kovač", "Ivanov", "Jovanovska", "Müller", "Novák", "Nowak", "Silva", "Rossi",
    "García", "Jensen", "Tanaka", "Murphy", "Dubois", "Haddad", "Horvat", "Popescu", "Lindström", "de Vries",
)  # fmt: skip
_CLASSES = (("Elite", "#d7263d"), ("Juniors", "#1b998b"), ("Masters", "#2e86de"), ("E-bikes", "#f4a300"))


def rider(number: int) -> tuple[str, str, str]:
    """Return name, class and colour of a made-up rider; the first 483 have different names."""
    group, color = _CLASSES[number % len(_CLASSES)]
    name = f"{_FIRST_NAMES[number % len(_FIRST_NAMES)]} {_LAST_NAMES[number % len(_LAST_NAMES)]}"
    return name, group, color


def course() -> dict[str, Any]:
    """Return the road that the simulated devices drive, as GeoJSON; it ends where it starts."""
    road = [[lon, lat] for lat, lon in (*SKOPJE_LOOP, SKOPJE_LOOP[0])]
    marks = {"Start / Finish": road[0], "Vardar bridge": road[5], "Feed zone": road[11]}
    geometries = {"": {"type": "LineString", "coordinates": road}} | {
        name: {"type": "Point", "coordinates": place} for name, place in marks.items()
    }
    features = [
        {"type": "Feature", "properties": {"name": name}, "geometry": geometry} for name, geometry in geometries.items()
    ]
    return {"type": "FeatureCollection", "features": features}


async def enter_devices(database: asyncpg.Connection, device_ids: Sequence[str]) -> None:
    """Make the tables, an event, and an entry for each device."""
    numbered = list(enumerate(device_ids, start=1))
    await database.execute(_TABLES)
    await database.execute("INSERT INTO events VALUES ($1, 'Demo race', $2)", EVENT_ID, json.dumps(course()))
    await database.executemany(
        "INSERT INTO entries VALUES ($1, $2, $3, $1, $4, $5)",
        [(number, EVENT_ID, *rider(number)) for number, _ in numbered],
    )
    await database.executemany(
        "INSERT INTO entry_devices VALUES ($1, $1, $2)", [(number, device_id) for number, device_id in numbered]
    )
