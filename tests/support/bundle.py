"""The files of the built map, whose names change with what is in them."""

from importlib.resources import files
from pathlib import Path

STATIC = Path(str(files("telemetry_app.live.http"))) / "static"


def built(name: str) -> str:
    """Return what the file that the sources call `app.js` is called now."""
    stem, _, kind = name.partition(".")
    (path,) = STATIC.glob(f"{stem}-????????.{kind}")
    return path.name
