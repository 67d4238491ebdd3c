"""The metrics and labels that a PromQL expression speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STRING = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*')
_RANGE = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_NAME = re.compile(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()")
_WORDS = {"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left", "group_right"}


@dataclass(frozen=True)
class Matcher:
    """A label matcher of a metric."""

    metric: str
    label: str
    operator: str
    value: str


def metrics(expression: str) -> set[str]:
    """Return the names of the metrics."""
    bare = _RANGE.sub(" ", _GROUPING.sub(" ", re.sub(r"\{[^}]*\}", " ", _STRING.sub('""', expression))))
    # A number such as 400e6 is no name: it begins with a digit.
    return {name for name in _NAME.findall(bare) if name not in _WORDS}


def grouping_labels(expression: str) -> set[str]:
    """Return the labels by which results are grouped or joined."""
    return {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",") if label.strip()}


def matchers(expression: str) -> Iterator[Matcher]:
    """Yield the label matchers of each metric."""
    for metric, inner in _SELECTOR.findall(expression):
        for label, operator, value in _MATCHER.findall(inner):
            yield Matcher(metric, label, operator, value)
