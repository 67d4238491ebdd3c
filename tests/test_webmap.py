"""The live map's bundle: built from the sources beside it, whole, and content with its own server."""

import hashlib
import json
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SOURCES = PROJECT / "webmap"
BUILT = PROJECT / "telemetry_app" / "live" / "http" / "static"
BUILD_FILES = ("build.mjs", "index.html", "package.json", "tsconfig.json")
# Names of XML vocabularies, a base that relative addresses are resolved with, and links in texts for people.
NEVER_FETCHED = (
    "http://www.w3.org/1999/xhtml",
    "http://www.w3.org/2000/svg",
    "https://maplibre.invalid/",
    "https://maplibre.org/",
    "https://github.com/mapbox/mapbox-gl-js/issues/2907",
    "https://wiki.openstreetmap.org/wiki/This_map_requires_WebGL",
)
ADDRESS = re.compile(r"""(?:https?|wss?)://[\w%-][^\s"'`)<>\\]*""")


def digest(folder: Path, names: Iterable[str]) -> str:
    """Return what build.mjs calls the digest of these files."""
    whole = hashlib.sha256()
    for name in sorted(names):
        whole.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    return whole.hexdigest()


def built_names() -> list[str]:
    return [path.name for path in BUILT.iterdir() if path.name != "build.json"]


def test_bundle_is_built_from_these_sources() -> None:
    """Neither the sources nor the bundle changed since the build; else: npm run build in webmap."""
    sources = [f"src/{path.name}" for path in (SOURCES / "src").iterdir()]
    assert json.loads((BUILT / "build.json").read_text()) == {
        "sources": digest(SOURCES, [*sources, *BUILD_FILES]),
        "built": digest(BUILT, built_names()),
    }


class Named(HTMLParser):
    """Collects the files that a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.files: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - any tag's
        targets = [value for name, value in attrs if name in {"href", "src"} and value]
        self.files.update(target for target in targets if not target.startswith(("data:", "#")))


def test_bundle_is_whole() -> None:
    """Every file that the page and its script name is there."""
    page = Named()
    page.feed((BUILT / "index.html").read_text())
    assert page.files == {"app.css", "app.js"}
    calls = "".join(path.read_text() for path in (SOURCES / "src").glob("*.ts"))
    assets = set(re.findall(r'asset\("([^"]+)"\)', calls))
    assert assets == {"feed.js", "map-worker.js", "world.json"}
    assert page.files | assets <= set(built_names())


def test_bundle_asks_no_other_server() -> None:
    """No file holds an address of another server, but for those that nobody fetches; licence texts may."""
    found = {
        address
        for name in built_names()
        if name != "LICENSES.txt"
        for address in ADDRESS.findall((BUILT / name).read_text())
    }
    assert found == set(NEVER_FETCHED)
