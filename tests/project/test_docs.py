"""README's tables of variables and metrics say what the code does."""

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from telemetry_app.cli import COMMANDS
from telemetry_app.operations.metrics import Metrics
from telemetry_app.settings import Settings, bound_phrase

README = Path(__file__).parents[2] / "README.md"
# Defaults that depend on the machine, in words.
DEFAULT_WORDS = {
    "instance_id": "host name, `-`, 6 random hex digits",
    "log_format": "`json`, on a terminal `pretty`",
}


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of README, without its two head lines."""
    text = README.read_text()
    match = re.search(rf"^(#+) {re.escape(heading)}$(.*?)(?=^#{{1,6}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"README has no heading {heading!r}"
    rows = [line for line in match[2].splitlines() if line.startswith("|")]
    # A | inside a cell is written \|.
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def default_cell(field: str) -> str:
    if field in DEFAULT_WORDS:
        return DEFAULT_WORDS[field]
    default = Settings.model_fields[field].default
    if field == "roles":
        return "`write,live`"
    if default is None:
        return "unset"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`" if default else "empty"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def variable_rows() -> list[list[str]]:
    """Return variable, default and bounds of each setting."""
    return [[f"`{field.upper()}`", default_cell(field), bound_phrase(field)] for field in Settings.model_fields]


def metric_rows() -> list[list[str]]:
    """Return name, kind and labels of each metric, with the values that are there from the start."""
    families = [value for value in vars(Metrics()).values() if isinstance(value, MetricWrapperBase)]
    return [[f"`{exposed_name(family)}`", str(family._type), labels_cell(family)] for family in families]


def exposed_name(family: MetricWrapperBase) -> str:
    return f"{family._name}_total" if family._type == "counter" else family._name


def labels_cell(family: MetricWrapperBase) -> str:
    if not family._labelnames:
        return ""
    (name,) = family._labelnames
    values = ", ".join(f"`{value}`" for (value,) in family._metrics)
    return f"`{name}`: {values}" if values else f"`{name}`"


def test_table_of_variables() -> None:
    """README names each variable with its default and its bounds, in the order of the code."""
    assert [row[:3] for row in table("Configuration")] == variable_rows()


def test_table_of_metrics() -> None:
    """README names each metric with its kind and its labels."""
    assert sorted(row[:3] for row in table("Metrics")) == sorted(metric_rows())


def test_every_row_has_a_meaning() -> None:
    """No variable and no metric stands there unexplained."""
    rows = table("Configuration") + table("Metrics")
    assert rows != []
    assert [row[0] for row in rows if len(row) != 4 or not row[3]] == []


def test_commands_are_named() -> None:
    """README names every command."""
    text = README.read_text()
    assert [name for name in COMMANDS if f"telemetry {name}" not in text] == []
