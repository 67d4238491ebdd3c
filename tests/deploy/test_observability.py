"""Alerts and dashboard ask for what a worker shows, and say what Prometheus understands."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import PROJECT
from tests.deploy import promql
from tests.support.servers.packaged import promtool
from tests.support.waiting import eventually
from tests.worker.conftest import Pipeline, StartWorker, record

FOLDER = PROJECT / "deploy" / "observability"
RULES = FOLDER / "alerts.yml"
#: What Prometheus adds to a worker's series, and the one series of its own.
TARGET_LABELS = {"job", "instance", "namespace"}
OF_PROMETHEUS = {"up": {frozenset[tuple[str, str]]()}}
#: Grafana's word for a range that fits the screen.
INTERVAL = re.compile(r"\$__rate_interval")

Series = Mapping[str, set[frozenset[tuple[str, str]]]]


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return found


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return [*(rule["expr"] for rule in rules()), *panels]


def run_promtool(*arguments: str | Path) -> str:
    program = promtool()
    done = subprocess.run(
        [program.executable, *arguments],
        cwd=FOLDER,
        env={**os.environ, **program.env},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


@pytest.fixture
async def series(pipeline: Pipeline, start_worker: StartWorker) -> Series:
    """The series of a running worker with both sides, which has set a record aside, by name: sets of labels."""
    await pipeline.publish([record(1, 1), record(2, 1, latitude=91)])
    worker = start_worker(ROLES="write,live", LIVE_AUTH="none", DEAD_LETTER_AFTER="1")
    await worker.wait_ready()
    await eventually(pipeline.dead_letters, message="the bad record is set aside")
    found: dict[str, set[frozenset[tuple[str, str]]]] = defaultdict(set, OF_PROMETHEUS)
    async with aiohttp.ClientSession() as http, http.get(f"{worker.metrics_url}/metrics") as answer:
        for family in text_string_to_metric_families(await answer.text()):
            for sample in family.samples:
                found[sample.name].add(frozenset(sample.labels.items()))
    return found


async def test_every_series_exists(series: Series) -> None:
    """Each expression names metrics, labels and label values that a running worker shows."""
    wrong = [problem for expression in expressions() for problem in problems(expression, series)]
    assert wrong == []


def problems(expression: str, series: Series) -> list[str]:
    """Return what an expression asks for and no worker has."""
    names = promql.metrics(expression)
    unknown = [f"no metric {name}" for name in names if name not in series]
    labels = {label for name in names for labels in series.get(name, ()) for label, _ in labels} | TARGET_LABELS
    unknown += [f"no label {label}" for label in promql.grouping_labels(expression) - labels]
    for asked in promql.matchers(expression):
        values = {value for labels in series.get(asked.metric, ()) for label, value in labels if label == asked.label}
        if asked.label not in TARGET_LABELS and (asked.operator != "=" or asked.value not in values):
            unknown.append(f"no {asked}")
    return [f"{problem} in {expression}" for problem in unknown]


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("sum(processor_lag) > 0", "no metric processor_lag"),
        ("sum by (topic) (processor_acks_total)", "no label topic"),
        ('rate(processor_writes_total{status="lost"}[5m])', "value='lost'"),
        ('rate(processor_writes_total{outcome="ok"}[5m])', "label='outcome'"),
    ],
)
def test_what_does_not_exist_is_found(expression: str, problem: str) -> None:
    """A metric, a label or a value that no worker has is told."""
    series = {"processor_acks_total": {frozenset[Any]()}, "processor_writes_total": {frozenset({("status", "ok")})}}
    (found,) = problems(expression, series)
    assert problem in found


def test_rules() -> None:
    """Prometheus' own tool finds nothing wrong with the rules."""
    assert f"SUCCESS: {len(rules())} rules found" in run_promtool("check", "rules", RULES)


def test_configuration() -> None:
    """It takes the configuration that names them."""
    run_promtool("check", "config", FOLDER / "prometheus.yml")


def test_alerts_fire_when_they_should() -> None:
    """The unit tests of the alerts pass."""
    assert "SUCCESS" in run_promtool("test", "rules", FOLDER / "alerts.test.yml")


def test_every_alert_is_tried() -> None:
    """Each alert fires in one of its unit tests."""
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == {rule["alert"] for rule in rules()}


def test_every_alert_says_what_to_do() -> None:
    """Each alert has a row in the handbook, in the same order."""
    text = (PROJECT / "docs" / "operations.md").read_text()
    assert re.findall(r"^\| `(Telemetry\w+)` \|", text, re.MULTILINE) == [rule["alert"] for rule in rules()]


def test_every_panel_is_understood(tmp_path: Path) -> None:
    """Each expression of the dashboard is PromQL."""
    asked = [
        INTERVAL.sub("5m", target["expr"]) for panel in dashboard()["panels"] for target in panel.get("targets", ())
    ]
    recorded = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    assert f"SUCCESS: {len(asked)} rules found" in run_promtool("check", "rules", path)


def test_panels_lie_side_by_side() -> None:
    """Each panel has an id, a title, a unit and a place of its own on the screen, and asks the chosen Prometheus."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert [a for a, b in itertools.combinations(places, 2) if overlap(a, b)] == []
    assert max(place["x"] + place["w"] for place in places) == 24
    shown = [panel for panel in panels if panel["type"] != "row"]
    assert [p["title"] for p in shown if p["datasource"]["uid"] != "${datasource}" or not p["description"]] == []
    assert [panel["title"] for panel in shown if not panel["fieldConfig"]["defaults"]["unit"]] == []


def overlap(a: Mapping[str, int], b: Mapping[str, int]) -> bool:
    beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    return not (beside or below)
