"""Private names and texts of other libraries in our sources, found by reading them."""

import ast
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import faust_redis
import telemetry_app

ROOT = Path(__file__).parents[2]
PACKAGES = ("faust_redis", "telemetry_app", "agents", "tables")
#: Importing these starts an application or a command.
NOT_IMPORTED = ("telemetry_app.app", "telemetry_app.__main__")
_NAME = re.compile("_[a-z][a-z0-9_]*")


def private(name: str) -> bool:
    """Tell whether a name is somebody's own affair; `__dunder__` names are the language's."""
    return name.startswith("_") and not name.startswith("__")


def trees() -> Iterator[ast.Module]:
    """Yield every module of ours, parsed."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            yield ast.parse(path.read_text())


def names_of_others() -> set[str]:
    """Return the private names that are read or set on anything but `self`, imported, or given as a text."""
    return {name for tree in trees() for name in names_in(tree)}


def names_in(tree: ast.Module) -> set[str]:
    """Return the same of one module; a class may list its own names in `__slots__`."""
    slots = (n for n in ast.walk(tree) if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__slots__")
    own = {id(constant) for assignment in slots for constant in ast.walk(assignment)}
    return {name for node in ast.walk(tree) if id(node) not in own for name in _names_in(node)}


def _names_in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=owner, attr=name) if private(name) and not _is_self(owner):
            yield name
        case ast.ImportFrom(module=str(module), names=names):
            yield from (part for part in module.split(".") if private(part))
            yield from (alias.name for alias in names if private(alias.name))
        case ast.Import(names=names):
            yield from (part for alias in names for part in alias.name.split(".") if private(part))
        case ast.keyword(arg=str(name)) if private(name):
            yield name
        case ast.Constant(value=str(text)) if _NAME.fullmatch(text):  # for getattr
            yield text


def _is_self(node: ast.expr) -> bool:
    match node:
        case ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")):
            return True
    return False


def names_inherited() -> set[str]:
    """Return the private names of other libraries' classes that our classes override or use on themselves."""
    return {name for cls in _our_classes() for name in names_inherited_by(cls)}


def names_inherited_by(cls: type) -> set[str]:
    """Return the same of one class."""
    return {name for name in _own_names(cls) if _comes_from_others(cls, name)}


def _our_classes() -> Iterator[type]:
    for package in (faust_redis, telemetry_app):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if info.name not in NOT_IMPORTED:
                yield from _classes_of(importlib.import_module(info.name))


def _classes_of(module: ModuleType) -> Iterator[type]:
    for value in vars(module).values():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            yield value


def _own_names(cls: type) -> Iterator[str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except OSError:  # made by a function, without a source of its own
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name) if private(name) and _is_self(owner):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if private(name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if private(name):
                yield name


def _comes_from_others(cls: type, name: str) -> bool:
    return any(has(base, name) for base in cls.__mro__[1:] if _is_foreign(base))


def _is_foreign(cls: type) -> bool:
    root = cls.__module__.partition(".")[0]
    return root not in PACKAGES and root not in sys.stdlib_module_names


@functools.cache
def has(owner: type | ModuleType, name: str) -> bool:
    """Tell whether a class or module has a name, be it only on instances."""
    if hasattr(owner, name) or (isinstance(owner, ModuleType) and _is_submodule(owner, name)):
        return True
    classes = owner.__mro__[:-1] if isinstance(owner, type) else ()
    return any(name in vars(cls).get("__annotations__", {}) or f"self.{name} " in _source(cls) for cls in classes)


def _is_submodule(package: ModuleType, name: str) -> bool:
    return importlib.util.find_spec(f"{package.__name__}.{name}") is not None


@functools.cache
def _source(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return ""


def replaced() -> set[str]:
    """Return what of imported things is set from outside, by an assignment or by setattr: `name.attribute`."""
    return {name for tree in trees() for name in replaced_in(tree)}


def replaced_in(tree: ast.Module) -> set[str]:
    """Return the same of one module."""
    return set(_replaced_in(tree))


def _replaced_in(tree: ast.Module) -> Iterator[str]:
    imported = {
        alias.asname or alias.name.partition(".")[0]: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    texts = dict(text for node in tree.body for text in _texts_named(node))
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets):
                for target in targets:
                    match target:
                        case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in imported:
                            yield f"{imported[owner]}.{name}"
            case ast.Call(
                func=ast.Name(id="setattr"),
                args=[ast.Name(id=owner), ast.Constant(value=name) | ast.Name(id=name), _],
            ) if owner in imported:
                yield f"{imported[owner]}.{texts.get(name, name)}"


def _texts_named(node: ast.stmt) -> Iterator[tuple[str, str]]:
    match node:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text)))
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text)))
        ):
            yield name, text


def texts_compared() -> set[str]:
    """Return the texts that are looked for in what an error says: in `str(error)`."""
    return {text for tree in trees() for node in ast.walk(tree) for text in _texts_in(node)}


def _texts_in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Compare(left=left, comparators=[right]):
            if _is_text_of(right) or _is_text_of(left):
                yield from _constants(left)
                yield from _constants(right)
        case ast.Call(func=ast.Attribute(value=owner, attr="startswith" | "endswith"), args=[argument]):
            if _is_text_of(owner):
                yield from _constants(argument)


def _is_text_of(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="str"), args=[ast.Name(id="error" | "exc" | "exception" | "reason")]):
            return True
    return False


def _constants(node: ast.expr) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value
