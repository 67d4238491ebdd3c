"""One tracker in one car."""

from __future__ import annotations

import base64
import math
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from telemetry_app.tools.simulation.record import Kind, Record, iso_ms

if TYPE_CHECKING:
    from datetime import datetime

    from telemetry_app.tools.simulation.track import Track

_CODEC = "8E"
_CRUISE_KMH = 70.0
_SWING_KMH = 35.0
_SWING_PERIOD_S = 40.0
_ALTITUDE_M = 245.0
_HILL_M = 18.0
# An iButton's number has 64 bits, more than the producer's numbers can hold.
_IBUTTON_BASE = 0x0100_0000_1A2B_3C00
_BEACON_BYTES = 42


class Reading(NamedTuple):
    """What the GNSS receiver said."""

    ts: datetime
    latitude: float
    longitude: float
    altitude: float
    angle: float
    speed: float
    satellites: int


class Tracker:
    """Drive round the track and say so in records.

    Args:
        device_id: IMEI.
        track: Driven for ever.
        start_m: Where on it.
        rng: Decides on how the car is driven, and nothing else.
    """

    def __init__(self, device_id: str, track: Track, start_m: float, rng: random.Random) -> None:
        self.device_id = device_id
        self._track = track
        self._distance_m = start_m
        self._rng = rng
        self._swing = rng.uniform(0, math.tau)
        self._ibutton = _IBUTTON_BASE + rng.randrange(256)
        self._beacon = base64.b64encode(rng.randbytes(_BEACON_BYTES)).decode()
        self._odometer_m = rng.randrange(1_000_000, 200_000_000)
        self._speed_kmh = 0.0

    def drive(self, ts: datetime, step_s: float) -> Reading:
        """Drive on for `step_s` seconds; return the reading at their end, which is `ts`."""
        self._swing += math.tau * step_s / _SWING_PERIOD_S
        self._speed_kmh = max(0.0, _CRUISE_KMH + _SWING_KMH * math.sin(self._swing) + self._rng.gauss(0, 2))
        step_m = self._speed_kmh / 3.6 * step_s
        self._distance_m += step_m
        self._odometer_m += round(step_m)
        place = self._track.place(self._distance_m)
        hill = math.sin(math.tau * self._distance_m / self._track.length_m)
        return Reading(
            ts,
            round(place.latitude, 7),
            round(place.longitude, 7),
            round(_ALTITUDE_M + _HILL_M * hill),
            round(place.course) % 360,
            round(self._speed_kmh),
            self._rng.randint(9, 17),
        )

    def record(self, reading: Reading, kind: Kind = Kind.LIVE) -> Record:
        """Return the record of a reading, with everything else that the tracker knows."""
        payload = {
            "device_id": self.device_id,
            "timestamp": iso_ms(reading.ts),
            "latitude": reading.latitude,
            "longitude": reading.longitude,
            "altitude": reading.altitude,
            "angle": reading.angle,
            "speed": reading.speed,
            "satellites": reading.satellites,
            "priority": 0,
            "attributes": self._attributes(reading),
        }
        return Record(self.device_id, reading.ts, _CODEC, msgspec.json.encode(payload), kind)

    def _attributes(self, reading: Reading) -> dict[str, Any]:
        """Return 20 IO elements by their AVL id."""
        rng = self._rng
        return {
            "239": 1,  # ignition
            "240": reading.speed > 0,  # movement
            "80": 0,  # data mode
            "21": rng.randint(2, 5),  # GSM signal
            "200": 0,  # sleep mode
            "69": 1 if reading.satellites else 2,  # GNSS status
            "113": 100,  # battery level, %
            "181": rng.randint(8, 25),  # PDOP x 10
            "182": rng.randint(5, 15),  # HDOP x 10
            "66": rng.randint(12_900, 14_400),  # supply, mV
            "67": rng.randint(3_950, 4_150),  # battery, mV
            "68": 0,  # battery current, mA
            "24": reading.speed,  # speed, km/h
            "205": 31042,  # GSM cell
            "206": 1204,  # GSM area
            "241": 29401,  # operator
            "199": rng.randint(0, 9_999),  # trip odometer, m
            "16": self._odometer_m,  # odometer, m
            "78": {"__bigint": str(self._ibutton)},  # iButton
            "10828": {"__buffer_b64": self._beacon},  # beacon
        }


def without_fix(reading: Reading) -> Reading:
    """Return what a receiver says that has lost its satellites: where it was last, standing still."""
    return reading._replace(satellites=0, speed=0, angle=0)


def after_reboot(reading: Reading) -> Reading:
    """Return what a receiver says that has not had a fix since it was switched on."""
    return without_fix(reading)._replace(latitude=0.0, longitude=0.0, altitude=0.0)


def with_clock_ahead(reading: Reading, ahead: timedelta) -> Reading:
    """Return the reading of a tracker whose clock is wrong."""
    return reading._replace(ts=reading.ts + ahead)
