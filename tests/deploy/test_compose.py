"""What compose, CI and the example of the settings say, held to the settings and to each other."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from telemetry_app.database.postgres import Postgres
from telemetry_app.settings import Settings
from tests.conftest import PROJECT
from tests.deploy import dockerfile, env_example

BIN = Path(sys.executable).parent
FILES = ("compose.dev.yaml", "compose.prod.yaml")
#: What compose.prod.yaml asks for.
ANSWERS = {
    "CERTIFICATES": "/certificates",
    "DIRECTUS_URL": "https://directus.example.org",
    "IMAGE": "telemetry-processor:1.0.0",
    "POSTGRES_PASSWORD": "one",
    "REDIS_ADMIN_PASSWORD": "two",
    "REDIS_PASSWORD": "three",
}
WORKFLOW = PROJECT / ".gitea" / "workflows" / "build.yml"
#: Changes of these need no build.
NOT_BUILT = {"CHANGELOG.md"}


def compose(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose", path=str(BIN))
    assert program is not None
    return subprocess.run(
        [program, "--project-directory", PROJECT, "-f", PROJECT / name, "config", *arguments],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def resolved(name: str, **variables: str) -> dict[str, Any]:
    """Return a compose file as compose itself reads it."""
    done = compose(name, "--format", "json", **ANSWERS, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def workers(name: str, **variables: str) -> dict[str, dict[str, Any]]:
    """Return the services that run our image."""
    services = resolved(name, **variables)["services"]
    ours = {each: s for each, s in services.items() if "build" in s or s.get("image") == ANSWERS["IMAGE"]}
    assert ours
    return ours


def longest_statement_s() -> float:
    """Return how long a statement may take, which a worker that stops waits for."""
    timeout_ms: int = inspect.signature(Postgres).parameters["statement_timeout_ms"].default
    return timeout_ms / 1000


def test_the_example_is_the_settings() -> None:
    """`.env.example` names every setting with its default and bound; `python -m tests.deploy.env_example` makes it."""
    assert env_example.PATH.read_text() == env_example.text()


def test_the_example_is_taken(tmp_path: Path) -> None:
    """With every line uncommented, the example gives the defaults."""
    lines = re.findall(r"^#([A-Z_]+=.*)$", env_example.text(), re.MULTILINE)
    kept = [line for line in lines if not line.startswith("INSTANCE_ID=")]
    (tmp_path / ".env").write_text("\n".join(kept))
    given = Settings(_env_file=tmp_path / ".env")  # type: ignore[call-arg]  # pydantic's own argument
    assert len(kept) == len(Settings.model_fields) - 1
    differing = {"instance_id", "log_format"}
    assert given.model_dump(exclude=differing) == Settings(_env_file=None).model_dump(exclude=differing)  # type: ignore[call-arg]  # the same


@pytest.mark.parametrize("name", FILES)
def test_compose_takes_it(name: str) -> None:
    """Compose finds nothing wrong."""
    done = compose(name, "--quiet", **ANSWERS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("missing", ANSWERS)
def test_compose_asks_for_what_it_needs(missing: str) -> None:
    """Without one of its variables, the system for production does not start."""
    done = compose("compose.prod.yaml", "--quiet", **{name: ANSWERS[name] for name in ANSWERS if name != missing})
    assert done.returncode != 0
    assert f"required variable {missing} is missing a value" in done.stderr


@pytest.mark.parametrize("name", FILES)
def test_workers_get_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable of a worker is a setting, and together they start one."""
    for service in workers(name).values():
        variables = service["environment"]
        assert set(variables) - {field.upper() for field in Settings.model_fields} == set()
        with monkeypatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            settings = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic's own argument
        if "live" in settings.roles:
            assert settings.has_live_side


@pytest.mark.parametrize("name", FILES)
def test_workers_may_do_nothing_else(name: str) -> None:
    """Workers write nowhere, gain no rights, and have time to drain."""
    for service in workers(name).values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert float(service["stop_grace_period"].removesuffix("s")) > longest_statement_s()


@pytest.mark.parametrize(
    ("given", "kind", "source"), [({}, "volume", "maps"), ({"MAPS": "/srv/maps"}, "bind", "/srv/maps")]
)
def test_who_shows_reads_the_base_map(given: dict[str, str], kind: str, source: str) -> None:
    """The folder with the base map is where the handbook says, for those who show, who only read it."""
    for name, service in workers("compose.prod.yaml", **given).items():
        volumes = [(each["type"], each["source"], each["target"]) for each in service.get("volumes", ())]
        assert volumes == ([(kind, source, "/maps")] if name.startswith("live") else [])
        assert all(volume["read_only"] for volume in service.get("volumes", ()))
    assert "LIVE_BASEMAP=/maps/" in (PROJECT / "docs" / "operations.md").read_text()


def test_production_has_two_of_each() -> None:
    """Two workers store and two show, under the names that proxies and Prometheus know."""
    roles = {name: service["environment"]["ROLES"] for name, service in workers("compose.prod.yaml").items()}
    assert roles == {"live-1": "live", "live-2": "live", "write-1": "write", "write-2": "write"}
    prometheus = yaml.safe_load((PROJECT / "deploy" / "observability" / "prometheus.yml").read_text())
    (targets,) = prometheus["scrape_configs"][0]["static_configs"]
    assert sorted(targets["targets"]) == [
        f"{name}:{Settings.model_fields['metrics_port'].default}" for name in sorted(roles)
    ]
    proxied = set(re.findall(r"server (\S+):(\d+) ", (PROJECT / "deploy" / "proxies" / "nginx.conf").read_text()))
    live_port = str(Settings.model_fields["live_port"].default)
    assert proxied == {(name, live_port) for name, role in roles.items() if role == "live"}


@pytest.mark.parametrize("name", FILES)
def test_redis_keeps_what_it_is_given(name: str) -> None:
    """Redis writes an append-only file and evicts nothing."""
    command = " ".join(resolved(name)["services"]["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


@pytest.mark.parametrize("name", FILES)
def test_mounted_files_are_there(name: str) -> None:
    """Each file of the project that a service is given exists."""
    volumes = [volume for service in resolved(name)["services"].values() for volume in service.get("volumes", ())]
    ours = [Path(volume["source"]) for volume in volumes if volume["source"].startswith(str(PROJECT))]
    assert [path for path in ours if not path.exists()] == []


def test_compose_by_its_schema() -> None:
    """The files follow the specification's schema, and the workflow the one of its kind."""
    for schema, names in (("compose-spec", FILES), ("github-workflows", (str(WORKFLOW.relative_to(PROJECT)),))):
        done = subprocess.run(
            [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *names],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def workflow() -> dict[str, Any]:
    # `on` is a boolean to YAML 1.1.
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text().replace("\non:", "\n'on':"))
    return found


def test_ci_runs_what_ci_runs() -> None:
    """The workflow runs `.ci/run`, on versions of Python that the project is for, and builds no image without it."""
    jobs = workflow()["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    assert jobs["image"]["needs"] == "test"
    classifiers = (PROJECT / "pyproject.toml").read_text()
    for version in jobs["test"]["strategy"]["matrix"]["python"]:
        assert f'"Programming Language :: Python :: {version}"' in classifiers


def test_ci_looks_at_every_file() -> None:
    """Whatever the tests read or the image is made of starts the workflow, for pushes and for requests alike."""
    on = workflow()["on"]
    paths = on["push"]["paths"]
    assert on["pull_request"]["paths"] == paths
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout
    names = {line.partition("/")[0] for line in tracked.splitlines()} or dockerfile.copied()
    patterns = [re.compile(path.replace(".", r"\.").replace("/**", "").replace("*", ".*")) for path in paths]
    unseen = {name for name in names if not any(pattern.fullmatch(name) for pattern in patterns)}
    assert unseen - NOT_BUILT == set()
