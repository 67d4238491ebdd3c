"""What is drawn: features in the layers of Protomaps, with places in degrees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Longitude and latitude.
Place = tuple[float, float]
#: West, south, east and north.
Bounds = tuple[float, float, float, float]
Value = str | int


@dataclass(frozen=True, slots=True)
class Feature:
    """A point, a line, or an area without holes, whose last place is joined to the first.

    Attributes:
        layer: Of the tiles.
        kind: Of the geometry.
        places: In order.
        properties: By which styles choose; what is drawn is their `kind`.
        min_zoom: From which on it is in the tiles.
    """

    layer: str
    kind: Literal["point", "line", "area"]
    places: tuple[Place, ...]
    properties: Mapping[str, Value] = field(default_factory=dict)
    min_zoom: int = 0
