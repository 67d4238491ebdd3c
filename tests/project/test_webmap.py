"""The live map: its rooms, and its bundle, which is built from the sources, complete, and asking no other server."""

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from graphlib import TopologicalSorter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.bundle import STATIC as BUILT, built
from tests.support.servers.npm import install_project, npm

PROJECT = Path(__file__).parents[2]
SOURCES = PROJECT / "webmap"
BUILD_FILES = ("build.mjs", "index.html", "licenses/protomaps.txt", "package.json", "tsconfig.json")
# Names of XML vocabularies, a base that relative addresses are resolved with, and links in texts for people.
NEVER_FETCHED = (
    "http://www.w3.org/1999/xhtml",
    "http://www.w3.org/2000/svg",
    "https://maplibre.invalid/",
    "https://maplibre.org/",
    "https://github.com/mapbox/mapbox-gl-js/issues/2907",
    "https://github.com/protomaps/PMTiles/tree/main/js",
    "https://wiki.openstreetmap.org/wiki/This_map_requires_WebGL",
)
# Each room, and the rooms that it may import: a new folder fails until it stands here and in webmap/README.md.
ROOMS = {
    "": {"app", "page", "page/devices", "page/link", "map", "history", "course", "devices", "feed"},
    "app": {"page", "page/devices", "page/link", "map", "history", "devices", "feed"},
    "page": {"feed"},
    "page/devices": {"page", "devices", "feed"},
    "page/link": {"page"},
    "map": {"map/gl", "map/base", "course", "devices", "feed"},
    "map/gl": {"devices"},
    "map/base": {"feed"},
    "history": {"devices", "feed"},
    "course": {"feed"},
    "devices": {"feed"},
    "feed": set(),
}
MAX_SIBLINGS = 12
MAX_LINES = 400
# At the beginning of a line, or where it is needed: `await import(…)`.
IMPORT = re.compile(r"""(?:^(?:import|export)\b[^;]*?|\bimport\()"(\.[^"]+)"(?=[;)])""", re.MULTILINE)
ADDRESS = re.compile(r"""(?:https?|wss?)://[\w%-][^\s"'`)<>\\]*""")


def digest(folder: Path, names: Iterable[str]) -> str:
    """Return what build.mjs calls the digest of these files."""
    whole = hashlib.sha256()
    for name in sorted(names):
        whole.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    return whole.hexdigest()


def built_names() -> list[str]:
    return [path.name for path in BUILT.iterdir() if path.name != "build.json"]


def plain_names() -> list[str]:
    return [name for name in built_names() if not name.endswith((".br", ".gz"))]


def test_bundle_is_built_from_these_sources() -> None:
    """Neither the sources nor the bundle changed since the build; else: npm run build in webmap."""
    sources = [path.relative_to(SOURCES).as_posix() for path in (SOURCES / "src").rglob("*") if path.is_file()]
    assert json.loads((BUILT / "build.json").read_text()) == {
        "sources": digest(SOURCES, [*sources, *BUILD_FILES]),
        "built": digest(BUILT, built_names()),
    }


@pytest.mark.parametrize("script", ["check", "test"])
def test_scripts_pass(script: str, tmp_path: Path) -> None:
    """The types are right, and what needs no browser does what its unit tests say."""
    installed = install_project(SOURCES)
    project = tmp_path / "webmap"
    shutil.copytree(SOURCES, project, ignore=shutil.ignore_patterns("node_modules", ".test-build"))
    (project / "node_modules").symlink_to(installed / "node_modules")
    done = npm(installed, "run", script, cwd=project)
    assert done.returncode == 0, done.stdout


class Named(HTMLParser):
    """Collects the files that a page names."""

    def __init__(self) -> None:
        super().__init__()
        self.files: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - any tag's
        targets = [value for name, value in attrs if name in {"href", "src"} and value]
        self.files.update(target for target in targets if not target.startswith(("data:", "#")))


def test_bundle_is_whole() -> None:
    """Every file that the page and its script name is there; the page names all that its script begins with."""
    page = Named()
    page.feed((BUILT / "index.html").read_text())
    imported = re.findall(r'\b(?:from|import)"\./([\w.-]+)"', (BUILT / built("app.js")).read_text())
    assert page.files == {built("app.css"), built("app.js"), *imported}
    calls = "".join(path.read_text() for path in (SOURCES / "src").rglob("*.ts"))
    assets = set(re.findall(r'asset\("([^"]+)"\)', calls))
    assert assets == {"feed.js", "map-worker.js", "world.json"}
    assert page.files | {built(name) for name in assets} <= set(built_names())


def test_bundle_asks_no_other_server() -> None:
    """No file holds an address of another server, but for those that nobody fetches; licence texts may."""
    found = {
        address
        for name in plain_names()
        if name != "LICENSES.txt"
        for address in ADDRESS.findall((BUILT / name).read_text())
    }
    assert found == set(NEVER_FETCHED)


def imports() -> dict[str, set[str]]:
    """Return what each script of the sources imports of them, both as paths below src."""
    root = (SOURCES / "src").resolve()
    return {
        script.relative_to(root).as_posix(): {
            (script.parent / target).resolve().relative_to(root).as_posix()
            for target in IMPORT.findall(script.read_text())
            if not target.endswith(".css")
        }
        for script in root.rglob("*.ts")
    }


def room(script: str) -> str:
    return Path(script).parent.as_posix().removeprefix(".")


def test_rooms_import_one_way() -> None:
    """A room imports itself and the rooms that it may, each of which it does import; no script imports itself round."""
    graph = imports()
    crossed: dict[str, set[str]] = {room(script): set() for script in graph}
    for script, targets in graph.items():
        crossed[room(script)] |= {room(target) for target in targets} - {room(script)}
    assert crossed == ROOMS
    TopologicalSorter(graph).prepare()
    TopologicalSorter(ROOMS).prepare()


def test_rooms_are_small() -> None:
    """No folder of sources or tests holds more than a dozen things."""
    folders = [path for part in ("src", "test") for path in (SOURCES / part).glob("**") if path.is_dir()]
    sizes = {folder.relative_to(SOURCES).as_posix(): len(list(folder.iterdir())) for folder in folders}
    assert {folder: size for folder, size in sizes.items() if size > MAX_SIBLINGS} == {}


def test_no_script_outgrows_its_idea() -> None:
    """No script or style sheet of sources or tests has more than 400 lines."""
    files = [
        path for part in ("src", "test") for path in (SOURCES / part).rglob("*.*") if path.suffix in {".ts", ".css"}
    ]
    lines = {path.relative_to(SOURCES).as_posix(): len(path.read_text().splitlines()) for path in files}
    assert len(lines) > MAX_SIBLINGS
    assert {path: number for path, number in lines.items() if number > MAX_LINES} == {}


def test_rooms_are_described() -> None:
    """The README has a line for each room, and each test stands in a room of the sources."""
    described = re.findall(r"^\| `src/([\w/]*)/` \|", (SOURCES / "README.md").read_text(), re.MULTILINE)
    assert sorted(described) == sorted(name for name in ROOMS if name)
    tests = {room(path.relative_to(SOURCES / "test").as_posix()) for path in SOURCES.glob("test/**/*.ts")}
    assert tests < ROOMS.keys()


def test_first_load_is_small() -> None:
    """Each file lies there compressed too; of brotli all are at most 800 KB, those before the first dot 350 KB."""
    assert set(built_names()) == {f"{name}{kind}" for name in plain_names() for kind in ("", ".br", ".gz")}
    for name in plain_names():
        assert gzip.decompress((BUILT / f"{name}.gz").read_bytes()) == (BUILT / name).read_bytes()
    sizes = {name: (BUILT / f"{name}.br").stat().st_size for name in plain_names() if name != "LICENSES.txt"}
    afterwards = [name for name in sizes if name.startswith(("world-", "map-worker-", "tiles-"))]
    assert sum(sizes.values()) <= 800_000
    assert sum(sizes.values()) - sum(sizes[name] for name in afterwards) <= 350_000
