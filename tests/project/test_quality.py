"""Types, style and boundaries are tests."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("telemetry_app", "faust_redis", "agents", "tables")
FOLDERS = (*PACKAGES, "migrations", "tests")
MOST_LINES = 400
MOST_SIBLINGS = 14


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command",
    [
        pytest.param([sys.executable, "-m", "mypy"], id="mypy"),
        pytest.param([sys.executable, "-m", "ruff", "check"], id="ruff-check"),
        pytest.param([sys.executable, "-m", "ruff", "format", "--check"], id="ruff-format"),
        pytest.param([str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], id="import-linter"),
    ],
)
def test_the_tree_passes(command: list[str]) -> None:
    """The tool finds nothing."""
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def packages(*folders: str) -> list[Path]:
    return [path.parent for path in python_files(*folders) if path.name == "__init__.py"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_module_outgrows_its_idea() -> None:
    """No Python file has more than 400 lines."""
    lines = {name(path): len(path.read_text().splitlines()) for path in python_files(*FOLDERS)}
    assert {path: number for path, number in lines.items() if number > MOST_LINES} == {}


def test_no_folder_outgrows_a_glance() -> None:
    """No package has more than 14 modules and packages in it."""
    siblings = {
        name(package): sum(
            (path.suffix == ".py" and path.name != "__init__.py") or (path / "__init__.py").exists()
            for path in package.iterdir()
        )
        for package in packages(*FOLDERS)
    }
    too_many = {path: n for path, n in siblings.items() if n > MOST_SIBLINGS}
    assert too_many == {}


def test_every_package_says_what_it_is() -> None:
    """Each package of the code has a docstring."""
    silent = [
        name(package)
        for package in packages(*PACKAGES, "migrations")
        if not ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    ]
    assert silent == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    """There is no import circle of any size, imports for type checking included."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    circles = [circle for circle in strongly_connected(imports) if len(circle) > 1]
    assert circles == []


def strongly_connected(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules of which each imports each other one, directly or by way of others.

    Depth first, and then, in the order in which that was left, depth first against the direction of the imports.
    """
    importers: dict[str, set[str]] = defaultdict(set)
    for module, imported in imports.items():
        for other in imported:
            importers[other].add(module)
    order = [module for group in depth_first(sorted(imports), imports) for module in group]
    return [sorted(group) for group in depth_first(order[::-1], importers)]


def depth_first(starts: list[str], neighbours: dict[str, set[str]]) -> list[list[str]]:
    """Return what each start reaches that none before it has reached, in the order in which it is left."""
    seen: set[str] = set()

    def leave(module: str) -> list[str]:
        seen.add(module)
        below = [left for other in sorted(neighbours[module]) if other not in seen for left in leave(other)]
        return [*below, module]

    return [leave(start) for start in starts if start not in seen]


def test_circles_are_found() -> None:
    """Two circles that share a module are one, a bridge between circles belongs to none."""
    imports = {"a": {"b"}, "b": {"c", "e"}, "c": {"a", "d"}, "d": {"c", "x"}, "e": {"x"}, "x": {"y"}, "y": {"x"}}
    assert sorted(strongly_connected(imports)) == [["a", "b", "c", "d"], ["e"], ["x", "y"]]


def test_no_file_is_two_modules() -> None:
    """No file of ours was imported under two names."""
    names = defaultdict(list)
    for module_name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(ROOT) and not file.endswith("__init__.py") and ".venv" not in file:
            names[file].append(module_name)
    assert {file: several for file, several in names.items() if len(several) > 1} == {}
