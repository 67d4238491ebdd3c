"""`telemetry check` against real servers, well and not well."""

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from faust_redis.redis.client import execute
from telemetry_app.cli import main
from telemetry_app.cli.findings import dependencies, postgres
from telemetry_app.cli.findings.finding import Finding
from telemetry_app.database.migrate import migrate
from telemetry_app.operations.health import Readiness
from telemetry_app.operations.metrics import Metrics
from telemetry_app.operations.monitoring import MonitoringServer
from telemetry_app.settings import Settings, load_settings
from telemetry_app.tools.embedded.ports import free_port
from tests.conftest import ValkeyFactory
from tests.support.database import session
from tests.support.waiting import eventually

HOST = "127.0.0.1"
Findings = dict[str, Finding]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Settings]:
    """Give settings of one side, on ports that are surely free; nothing answers at their addresses."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    for module in (dependencies, postgres):
        monkeypatch.setattr(module, "TIMEOUT_S", 30.0)  # of servers that answer, on a busy machine

    def make(**overrides: object) -> Settings:
        nobody = {"redis_url": f"redis://{HOST}:1", "postgres_url": f"postgresql://u:secret@{HOST}:1/d"}
        quiet = {"metrics_port": 0, "live_port": free_port(), "roles": "write"}
        return load_settings(**(nobody | quiet | overrides))

    return make


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with closing(socket.create_server((HOST, 0))) as listener:
        yield listener.getsockname()[1]


async def look(settings: Settings) -> Findings:
    return {finding.name: finding async for finding in dependencies.dependencies(settings)}


async def test_all_well(settings: Callable[..., Settings], redis_url: str, stream: str, postgres_url: str) -> None:
    """On servers that a worker could start on, every finding is ok."""
    await migrate(postgres_url)
    found = await look(settings(redis_url=redis_url, postgres_url=postgres_url, redis_telemetry_stream=stream))
    assert {name: finding.text for name, finding in found.items() if not finding.ok} == {}
    assert set(found) == {
        "redis", "redis streams", "stream", "postgres", "extensions", "migrations", "table", "METRICS_PORT",
    }  # fmt: skip
    assert found["stream"].text == f"{stream}: 0 records, 0 pending, lag 0"
    assert found["METRICS_PORT"].text == "any free port"


async def test_trying_leaves_nothing(
    settings: Callable[..., Settings], redis_url: str, stream: str, redis: Redis
) -> None:
    """What was made to try the streams is deleted, and the stream itself is not made."""
    await look(settings(redis_url=redis_url, redis_telemetry_stream=stream))
    assert [key async for key in redis.scan_iter(match=f"*{stream}*")] == []


@pytest.mark.parametrize("partitions", [1, 3])
async def test_how_far_the_group_is(
    settings: Callable[..., Settings], redis_url: str, stream: str, redis: Redis, partitions: int
) -> None:
    """Records, pending entries and lag are added up over the partitions."""
    for partition in range(partitions):
        key = stream if partitions == 1 else f"{stream}:{partition}"
        await redis.xgroup_create(key, "processor", "0", mkstream=True)
        for number in range(4):
            await redis.xadd(key, {"payload": str(number)})
        await redis.xreadgroup("processor", "me", {key: ">"}, count=3)
    found = await look(
        settings(redis_url=redis_url, redis_telemetry_stream=stream, redis_telemetry_partitions=partitions)
    )
    records, pending, lag = 4 * partitions, 3 * partitions, partitions
    assert found["stream"].text == f"{stream}: {records} records, {pending} pending, lag {lag}"


async def test_unknown_lag(settings: Callable[..., Settings], redis_url: str, stream: str, redis: Redis) -> None:
    """A lag that Redis does not know is not shown as 0, be it for deleted entries or for want of a group."""
    await redis.xadd(stream, {"payload": "0"})
    chosen = settings(redis_url=redis_url, redis_telemetry_stream=stream)
    assert (await look(chosen))["stream"].text == f"{stream}: 1 records, 0 pending, lag unknown"


async def test_no_stream(settings: Callable[..., Settings], redis_url: str, stream: str, redis: Redis) -> None:
    """A key of another kind in the stream's place is reported, with a remedy."""
    await redis.set(stream, "something else")
    finding = (await look(settings(redis_url=redis_url, redis_telemetry_stream=stream)))["stream"]
    assert not finding.ok
    assert finding.text == f"the key {stream} is not a stream: set REDIS_TELEMETRY_STREAM, or rename the key"


async def test_read_only_replica(settings: Callable[..., Settings], valkey_factory: ValkeyFactory) -> None:
    """A replica is reported as one."""
    server = valkey_factory(extra_args=("--replicaof", f"{HOST} 1"))
    finding = (await look(settings(redis_url=server.url)))["redis"]
    assert not finding.ok
    assert finding.text.endswith("is a read-only replica: set REDIS_URL to the master")


async def test_streams_refused(settings: Callable[..., Settings], valkey_factory: ValkeyFactory) -> None:
    """A user who may not use streams is reported."""
    server = valkey_factory(extra_args=("--user", "default", "on", "nopass", "~*", "+@all", "-xgroup"))
    finding = (await look(settings(redis_url=server.url)))["redis streams"]
    assert not finding.ok
    assert "permissions" in finding.text
    client = Redis.from_url(server.url)
    assert await client.dbsize() == 0
    await client.aclose()


async def test_cluster(settings: Callable[..., Settings], valkey_factory: ValkeyFactory) -> None:
    """A Redis Cluster is looked at in the same way."""
    server = valkey_factory(extra_args=("--cluster-enabled", "yes"))
    client = Redis.from_url(server.url)
    await execute(client, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)

    async def is_up() -> bool:
        return b"cluster_state:ok" in str(await execute(client, "CLUSTER", "INFO")).encode()

    await eventually(is_up, message="the cluster is up")
    await client.aclose()
    found = await look(settings(redis_url=f"redis+cluster://{HOST}:{server.port}", redis_telemetry_partitions=2))
    assert [found[name].ok for name in ("redis", "redis streams", "stream")] == [True] * 3


async def test_not_migrated(settings: Callable[..., Settings], plain_postgres_url: str) -> None:
    """On an empty database the pending migrations are named, and what applies them."""
    found = await look(settings(postgres_url=plain_postgres_url))
    assert not found["migrations"].ok
    assert "0001_positions is pending" in found["migrations"].text
    assert found["migrations"].text.endswith(": run `telemetry migrate`")
    assert found["table"].text == "there is no table positions: run `telemetry migrate`"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP INDEX positions_device_ts_idx", "the table lacks its unique index"),
        ("ALTER TABLE positions DROP COLUMN codec", "the table lacks a column"),
        ("REVOKE INSERT ON positions FROM {role}", "grant INSERT"),
        ("REVOKE SELECT ON positions FROM {role}", "grant INSERT, SELECT"),
        ("REVOKE UPDATE ON positions FROM {role}", "grant UPDATE"),
    ],
)  # fmt: skip
async def test_a_table_that_takes_no_rows(
    settings: Callable[..., Settings], plain_postgres_url: str, statement: str, said: str
) -> None:
    """The worker's own statements are tried, so what would stop them is said, and only merging is no necessity."""
    await migrate(plain_postgres_url)
    role = f"role_{plain_postgres_url[-12:]}"
    async with session(plain_postgres_url) as other:
        await other.execute(
            f"CREATE ROLE {role} LOGIN; GRANT INSERT, SELECT, UPDATE ON positions TO {role};"
            f"GRANT SELECT ON schema_migrations TO {role}"
        )
        try:
            url = plain_postgres_url.replace("postgres@", f"{role}@", 1)
            assert (await look(settings(postgres_url=url)))["table"] == Finding(
                "table", ok=True, text="positions is a plain table"
            )
            await other.execute(statement.format(role=role))
            finding = (await look(settings(postgres_url=url)))["table"]
        finally:
            await other.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert (finding.ok, finding.warning) == (("UPDATE" in statement,) * 2)
    assert said in finding.text


async def test_plain_table(settings: Callable[..., Settings], plain_postgres_url: str) -> None:
    """Without TimescaleDB it is said that the positions are a plain table, which is well."""
    await migrate(plain_postgres_url)
    found = await look(settings(postgres_url=plain_postgres_url))
    assert found["table"] == Finding("table", ok=True, text="positions is a plain table")
    assert found["extensions"].text == "TimescaleDB not available, PostGIS not available"


async def test_hypertable(settings: Callable[..., Settings], timescale_postgres_url: str) -> None:
    """With TimescaleDB it is said that the positions are a hypertable, and which versions are installed."""
    await migrate(timescale_postgres_url)
    found = await look(settings(postgres_url=timescale_postgres_url))
    assert found["table"] == Finding("table", ok=True, text="positions is a hypertable")
    assert re.fullmatch(r"TimescaleDB 2\.\d+\.\d+, PostGIS 3\.\d+\.\d+", found["extensions"].text)


async def test_nobody_answers(settings: Callable[..., Settings]) -> None:
    """Servers that do not answer are reported with a remedy and without a password."""
    found = await look(settings())
    assert not found["redis"].ok
    assert found["redis"].text.endswith(": start Redis, or set REDIS_URL")
    assert not found["postgres"].ok
    assert found["postgres"].text.endswith(": start PostgreSQL, or set POSTGRES_URL")
    assert "secret" not in found["postgres"].text


async def test_servers_that_stall(
    settings: Callable[..., Settings], taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers that take the connection and never answer hold nothing up."""
    monkeypatch.setattr(dependencies, "TIMEOUT_S", 0.2)
    stalled = {"redis_url": f"redis://{HOST}:{taken_port}", "postgres_url": f"postgresql://{HOST}:{taken_port}/d"}
    found = await look(
        settings(**stalled, roles="live", live_port=free_port(), directus_base_url=f"http://{HOST}:{taken_port}")
    )
    for name in ("redis", "postgres", "directus"):
        assert found[name].text.startswith("no answer within 0.2 s: "), found[name]


async def test_ports_taken(settings: Callable[..., Settings], taken_port: int) -> None:
    """A port that another program holds is wrong."""
    found = await look(settings(roles="live", metrics_host=HOST, live_host=HOST, live_port=taken_port))
    assert found["METRICS_PORT"].ok
    assert found["LIVE_PORT"].text == (
        f"{taken_port} on {HOST} cannot be used (Address already in use): set LIVE_PORT to a free port"
    )
    assert not found["LIVE_PORT"].ok


@pytest.mark.parametrize(("wanted", "warning"), [(10, False), (10**10, True)])
async def test_open_files(settings: Callable[..., Settings], wanted: int, *, warning: bool) -> None:
    """A limit of open files below what the spectators would need is a warning."""
    found = await look(settings(roles="live", live_auth="none", live_max_connections=wanted))
    finding = found["open files"]
    assert (finding.ok, finding.warning) == (True, warning)
    assert str(wanted) in finding.text


async def test_ports_of_a_running_worker(settings: Callable[..., Settings], taken_port: int) -> None:
    """Beside a worker that runs, its ports being in use is as it should be, also if its database does not answer."""

    async def silent() -> str | None:
        await asyncio.Event().wait()
        return None

    readiness = Readiness()
    readiness.add("postgres", silent)
    worker = MonitoringServer(HOST, 0, Metrics(), readiness)
    async with worker:
        port = worker.port
        found = await look(
            settings(roles="live", metrics_host=HOST, metrics_port=port, live_host=HOST, live_port=taken_port)
        )
    assert found["METRICS_PORT"] == Finding("METRICS_PORT", ok=True, text=f"{port} is in use, and a worker runs here")
    assert found["LIVE_PORT"].ok


def test_bad_settings(settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """With bad settings every bad one has its line, nothing else is looked at, and the status is 1."""
    settings()
    monkeypatch.setenv("BATCH_SIZE", "0")
    monkeypatch.setenv("ROLES", "x")
    monkeypatch.setenv("FAUST_WEB_PORT", "tcp://10.43.0.7:80")
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1
    assert [line.split()[:2] for line in result.output.splitlines()[:3]] == [
        ["wrong", "BATCH_SIZE"],
        ["wrong", "ROLES"],
        ["wrong", "FAUST_WEB_PORT"],
    ]
    assert "redis" not in result.output


async def test_the_command(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, redis_url: str, stream: str,
    plain_postgres_url: str,
) -> None:  # fmt: skip
    """The command has a line for each variable and dependency, and status 0 only when all is well."""
    settings()
    well = {
        "REDIS_URL": redis_url, "REDIS_TELEMETRY_STREAM": stream, "POSTGRES_URL": plain_postgres_url,
        "ROLES": "write", "METRICS_PORT": "0", "LIVE_TRUSTED_PROXIES": "::1,10.0.0.0/8",
    }  # fmt: skip
    for variable, value in well.items():
        monkeypatch.setenv(variable, value)

    def run() -> tuple[int, list[str]]:
        result = CliRunner().invoke(main, ["check"])
        return result.exit_code, result.output.splitlines()

    status, lines = await asyncio.to_thread(run)
    assert status == 1
    assert sum(line.startswith("wrong") for line in lines) == 2
    await migrate(plain_postgres_url)
    status, lines = await asyncio.to_thread(run)
    assert status == 0
    assert all(line.startswith("ok ") for line in lines)
    named = [line.split()[1] for line in lines]
    assert named[: len(Settings.model_fields)] == [field.upper() for field in Settings.model_fields]
    assert f"ok     REDIS_TELEMETRY_STREAM           {stream} (set)" in lines
    assert "ok     DIRECTUS_BASE_URL                unset (default)" in lines
    assert "ok     LIVE_TRUSTED_PROXIES             10.0.0.0/8,::1/128 (set)" in lines
    assert "ok     LIVE_MAX_CONNECTIONS_PER_ADDRESS 1000 (default)" in lines
    monkeypatch.setenv("F_DEBUG", "1")  # with which a worker refuses to start
    status, lines = await asyncio.to_thread(run)
    assert status == 1
    [wrong] = [line for line in lines if not line.startswith("ok ")]
    assert wrong.startswith("wrong  F_DEBUG ")


async def test_answers_have_advice_of_their_own(
    settings: Callable[..., Settings], valkey_factory: ValkeyFactory, postgres_url: str
) -> None:
    """Who is not let in, or asks for what is not there, is told what to correct, not to start a server that runs."""
    redis = valkey_factory(extra_args=("--user", "worker", "on", ">right", "~*", "+@all"))
    nowhere = postgres_url.rpartition("/")[0] + "/nowhere"
    wrong = redis.url.replace("redis://", "redis://worker:wrong@")
    found = await look(settings(redis_url=wrong, postgres_url=nowhere))
    assert found["redis"].text.endswith(": correct the user or the password in REDIS_URL")
    assert found["postgres"].text.endswith(": create the database that POSTGRES_URL names")
