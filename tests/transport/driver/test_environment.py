"""The environment variables of Faust have no effect on an application, or are refused."""

import asyncio
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import faust
import mode
import pytest
from faust.cli.faust import cli
from faust.types.settings import Settings

from faust_redis import App, Misconfigured
from faust_redis.driver.environment import refuse_environment
from tests.conftest import PROJECT
from tests.transport.driver.configuration import shown

#: By Faust's own reference: variable, and the setting that it sets.
SETTINGS: Final = {param.env_name: name for name, param in Settings.SETTINGS.items() if param.env_name}
#: One of these changes any setting that there is.
TEMPTING: Final = ("7", "true", "false", "exactly_once", "redis://127.0.0.1:1", "x")
#: Read while Faust is imported, below `FAUST_` and `F_`, and whether they are refused or have no effect.
PREFIXED: Final = {
    "BLOCKING_TIMEOUT": "7", "CONSOLE_PORT": "7", "DATADIR": "/elsewhere", "FORCE_BLOCKING_TIMEOUT": "1",
    "F_WEB_BIND": "127.0.0.9", "WEB_PORT": "7", "WEB_TRANSPORT": "unix://elsewhere",
}  # fmt: skip
REFUSED_PREFIXED: Final = ("DEBUG", "LOOP", "STRICT", "WORKDIR")
REFUSED: Final = ("DEVLOG", "NO_CYTHON", "TYPEXPR_DEBUG")
#: Read for other ends: by a command that prints the shell's completion, by a fixup, by a loop's own module.
ELSEWHERE: Final = {"SHELL", "DJANGO_SETTINGS_MODULE", "GEVENT_LOOP"}
#: Named in a docstring.
DOCUMENTED: Final = {"BROKER_USERNAME", "BROKER_PASSWORD"}
HOSTILE: Final = {
    **dict.fromkeys(SETTINGS, "7"),
    **{prefix + name: value for name, value in PREFIXED.items() for prefix in ("FAUST_", "F_")},
    "BROKER_URL": "redis://127.0.0.1:1",
    "APP_ENV_PREFIX": "EVIL",
    "EVIL_BROKER_URL": "redis://127.0.0.1:1",
    "DJANGO_SETTINGS_MODULE": "nowhere.settings",
}


def _by_faust(environ: Mapping[str, str]) -> object:
    """Return what Faust's own settings are in an environment; an error is one way to be affected."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return shown(Settings("a", env=environ))
    except Exception as error:  # noqa: BLE001 - Faust raises whatever the conversion does
        return repr(error)


@pytest.mark.parametrize("name", SETTINGS)
def test_variable_of_a_setting_has_no_effect(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A variable of Faust's reference, with a value that Faust itself would take, leaves the settings as they are."""
    expected = shown(App("a").conf)
    plain = _by_faust({})
    # The prefix changes nothing by itself: see the next test.
    value = next((v for v in TEMPTING if _by_faust({name: v}) != plain), "EVIL")
    assert value != "EVIL" or name == "APP_ENV_PREFIX"
    monkeypatch.setenv(name, value)
    assert shown(App("a").conf) == expected


def test_prefix_of_the_variables_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do the variables below a prefix that the environment itself sets."""
    expected = shown(App("a").conf)
    monkeypatch.setenv("APP_ENV_PREFIX", "EVIL")
    for name in SETTINGS:
        monkeypatch.setenv(f"EVIL_{name}", "7")
    assert shown(App("a").conf) == expected


async def _configuration(module: str, environ: Mapping[str, str]) -> Any:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.transport.driver.configuration", module],
        cwd=PROJECT, env={"PATH": "/usr/bin:/bin", **environ}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", PREFIXED)
async def test_variable_read_while_faust_is_imported_has_no_effect(name: str) -> None:
    """A variable that Faust reads when it is imported leaves the settings of a process of its own as they are."""
    environ = {prefix + name: PREFIXED[name] for prefix in ("FAUST_", "F_")}
    assert await _configuration("tests.transport.driver.plain_app", environ) == shown(App("plain").conf)


async def test_all_variables_at_once_leave_the_worker_of_the_project_as_it_is() -> None:
    """The telemetry worker's settings are those of a clean environment, whatever Faust could read."""
    own = {"INSTANCE_ID": "me", "LIVE_AUTH": "none", "DIRECTUS_BASE_URL": "http://127.0.0.1:1"}
    clean = await _configuration("telemetry_app.app", own)
    assert await _configuration("telemetry_app.app", {**own, **HOSTILE}) == clean


@pytest.mark.parametrize("name", [*(p + name for p in ("FAUST_", "F_") for name in REFUSED_PREFIXED), *REFUSED])
def test_variable_that_changes_faust_itself_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What an application cannot undo is refused by name when the application is made."""
    monkeypatch.setenv(name, "1")
    with pytest.raises(Misconfigured, match=f"the environment variable {name} changes Faust itself"):
        App("a")


@pytest.mark.parametrize(("name", "text"), [
    ("BLOCKING_TIMEOUT", "x"), ("BLOCKING_TIMEOUT", ""), ("CONSOLE_PORT", "x"), ("CONSOLE_PORT", "1e3"),
    ("WEB_PORT", "x"), ("WEB_PORT", "1.5"), ("WEB_PORT", ""),
])  # fmt: skip
@pytest.mark.parametrize("prefix", ["FAUST_", "F_"])
def test_number_that_faust_cannot_read_is_refused(prefix: str, name: str, text: str) -> None:
    """What would end the import of Faust with a traceback is refused by name."""
    with pytest.raises(Misconfigured, match=f"the environment variable {prefix}{name}"):
        refuse_environment({prefix + name: text}, [])
    refuse_environment({prefix + name: "7"}, [])


def test_link_of_a_service_is_refused_with_its_remedy() -> None:
    """What a Kubernetes Service named faust-web sets is refused with what to do about it."""
    with pytest.raises(Misconfigured, match="enableServiceLinks: false"):
        refuse_environment({"FAUST_WEB_PORT": "tcp://10.43.0.7:80"}, [])


@pytest.mark.parametrize("option", ["-L", "--loop=uvloop"])
def test_option_that_faust_copies_into_the_environment_is_accepted(option: str) -> None:
    """Who says it on the command line means it."""
    refuse_environment({"FAUST_LOOP": "uvloop"}, ["faust", option, "uvloop"])


def test_empty_variable_is_no_variable() -> None:
    """A variable that is set to nothing is not refused."""
    refuse_environment(dict.fromkeys(REFUSED, ""), [])


def _read_by_faust() -> Iterator[str]:
    pattern = re.compile(r"""(?:environ(?:\.get\(|\[)|(?<!def )_?getenv\()\s*["'](\w+)["']""")
    for package in (faust, mode):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            yield from pattern.findall(path.read_text())


def test_each_variable_in_the_sources_of_faust_has_its_place() -> None:
    """A variable that a new Faust reads fails here until somebody decides what it may do."""
    prefixed = {*PREFIXED, *REFUSED_PREFIXED}
    with_prefix = {prefix + name for name in prefixed for prefix in ("FAUST_", "F_")}
    assert set(_read_by_faust()) - with_prefix == (prefixed - {"LOOP"}) | {*REFUSED} | ELSEWHERE | DOCUMENTED


def _options(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    for inner in getattr(command, "commands", {}).values():
        yield from _options(inner)


def test_no_option_of_faust_is_read_from_the_environment() -> None:
    """Faust's command line has no variables of its own for its options."""
    assert cli.context_settings.get("auto_envvar_prefix") is None
    assert [option.name for option in _options(cli) if option.envvar] == []


@pytest.mark.parametrize("name", ["FAUST_LOOP", "F_DEBUG", "FAUST_WEB_PORT"])
async def test_worker_of_the_project_tells_a_refused_variable_in_one_line(name: str) -> None:
    """`telemetry worker` says so before Faust is imported, without a traceback, and ends with 1."""
    environ = {"PATH": "/usr/bin:/bin", "LIVE_AUTH": "none", name: "gevent"}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "telemetry_app", "worker"],
        cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert f"the environment variable {name} " in line
