"""The embedded servers: started, ended and restarted as promised, and never left behind."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis

from telemetry_app.tools.embedded import ports
from telemetry_app.tools.embedded.postgres import EmbeddedPostgres, StopMode
from telemetry_app.tools.embedded.process import ChildProcess, Command, EmbeddedServerError
from telemetry_app.tools.embedded.server import EmbeddedServer
from telemetry_app.tools.embedded.valkey import EmbeddedValkey
from tests.conftest import PostgresFactory, ValkeyFactory
from tests.support.waiting import eventually

NOBODY = 65534
#: Which column of /proc/sysvipc/shm has the process that made a segment.
_MAKER = 4

# Starts a server, says its process id, and waits for the end.
PARENT = """
import pathlib, sys
from telemetry_app.tools.embedded.{module} import {name} as Server
server = Server(pathlib.Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


async def put(server: EmbeddedValkey) -> None:
    async with Redis.from_url(server.url) as client:
        await client.set("key", "value")


async def get(server: EmbeddedValkey) -> bytes | str | None:
    async with Redis.from_url(server.url) as client:
        return await client.get("key")


async def query(server: EmbeddedPostgres, statement: str) -> object:
    connection = await asyncpg.connect(server.url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def table_exists(server: EmbeddedPostgres) -> bool:
    return await query(server, "SELECT to_regclass('kept')") is not None


def family(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


@contextlib.contextmanager
def interrupting_initdb() -> Iterator[list[psutil.Process]]:
    """Send this process Ctrl-C while `initdb` runs a server; give the list of both and what is between them."""
    found: list[psutil.Process] = []
    over = threading.Event()

    def interrupt() -> None:
        while not (found or over.wait(0.01)):
            with contextlib.suppress(psutil.NoSuchProcess, StopIteration):
                initdb = next(child for child in psutil.Process().children() if child.name() == "initdb")
                begun = family(initdb.pid)
                if any("--single" in process.cmdline() for process in begun):
                    found.extend(begun)
                    os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def test_interrupted_while_its_cluster_is_made(tmp_path: Path) -> None:
    """Nothing goes on: `initdb` and what it runs have ended when the start has."""
    with interrupting_initdb() as begun, pytest.raises(KeyboardInterrupt):
        EmbeddedPostgres(tmp_path / "server").start()
    assert begun
    assert all(map(gone, begun))


def gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_server_is_never_root(server: EmbeddedServer) -> None:
    """As root, every process of a server runs as nobody with no group of ours; else as ourselves."""
    server.start()
    expected = NOBODY if os.geteuid() == 0 else os.geteuid()
    server.pause()  # none of them ends meanwhile
    for process in family(server.pid):
        assert set(process.uids()) == {expected}
        if os.geteuid() == 0:
            assert set(process.gids()) == {NOBODY}
            groups = Path(f"/proc/{process.pid}/status").read_text().partition("\nGroups:")[2].partition("\n")[0]
            assert groups.split() == []


def test_server_listens_on_the_loopback_only(server: EmbeddedServer) -> None:
    """A server's one listening socket is its port on 127.0.0.1; there is no Unix socket."""
    server.start()
    process = psutil.Process(server.pid)
    listening = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", server.port)]
    assert [c.laddr for c in process.net_connections("unix") if c.laddr] == []


async def test_server_dies_with_a_killed_parent(
    request: pytest.FixtureRequest, folder: Path, server: EmbeddedServer
) -> None:
    """A server and all its children are gone when the process that started it is killed with SIGKILL."""
    kind = type(server)
    script = PARENT.format(module=kind.__module__.rpartition(".")[2], name=kind.__name__)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(folder), cwd=request.config.rootpath, stdin=PIPE, stdout=PIPE
    )
    assert parent.stdout is not None, "a pipe was asked for"
    processes = family(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    await eventually(lambda: all(map(gone, processes)), message="the server has ended")


def test_server_outlives_the_thread_that_started_it(server: EmbeddedServer) -> None:
    """A server started by a thread runs on when that thread ends."""
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    server.restart()
    thread = threading.Thread(target=server.restart)
    thread.start()
    thread.join()
    assert server.running
    assert accepts(server.port)


def test_discard_leaves_nothing(server: EmbeddedServer, folder: Path) -> None:
    """After `discard()` neither a process, a file nor shared memory of the server is left."""
    server.start()
    processes = family(server.pid)
    server.discard()
    assert all(map(gone, processes))
    assert not folder.exists()
    _, *segments = Path("/proc/sysvipc/shm").read_text().splitlines()
    assert str(processes[0].pid) not in [segment.split()[_MAKER] for segment in segments]


def test_context_manager_stops_and_keeps_data(folder: Path) -> None:
    """On leaving the `with` block the server has ended and its log and data are there."""
    with EmbeddedValkey(folder) as server:
        assert accepts(server.port)
    assert not server.running
    assert not accepts(server.port)
    assert server.log_path.stat().st_size > 0


def test_second_start_is_refused(server: EmbeddedServer) -> None:
    """A running server cannot be started once more, and goes on."""
    server.start()
    with pytest.raises(EmbeddedServerError, match="is already running"):
        server.start()
    assert server.running


@pytest.mark.parametrize("action", ["kill", "pause", "resume"])
def test_acting_on_a_stopped_server_is_refused(server: EmbeddedServer, action: str) -> None:
    """What needs a running server says so in one sentence when it does not run."""
    with pytest.raises(EmbeddedServerError, match=f"{server.name} on port {server.port} is not running"):
        getattr(server, action)()


def test_stop_of_a_stopped_server_does_nothing(server: EmbeddedServer) -> None:
    """Stopping twice is as good as once."""
    server.start()
    server.stop()
    server.stop()
    assert not server.running


def test_failed_start_shows_the_log(valkey_factory: ValkeyFactory, folder: Path) -> None:
    """A server that does not come up is an error with its exit status and the end of its log."""
    taken = valkey_factory().port
    with pytest.raises(EmbeddedServerError, match=r"(?s)valkey-server ended with status 1 .*already in use"):
        EmbeddedValkey(folder, port=taken).start()


def test_failed_postgres_start_shows_the_log(folder: Path) -> None:
    """PostgreSQL with a wrong setting is an error that names the setting."""
    with pytest.raises(EmbeddedServerError, match=r'(?s)postgres ended with status 1 .*"no_such_setting"'):
        EmbeddedPostgres(folder, settings={"no_such_setting": "on"}).start()


def test_missing_program_is_named(folder: Path) -> None:
    """A folder without the programs is an error that names the program."""
    with pytest.raises(EmbeddedServerError, match="initdb cannot be run"):
        EmbeddedPostgres(folder, bin_dir=Path("/usr")).start()


def test_child_that_ignores_the_signal_is_killed(folder: Path) -> None:
    """A child that ignores SIGTERM is killed at the deadline, with its descendants."""
    program = "import signal, subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('set', flush=True); "
    program += "subprocess.run(['sleep', '1000'])"
    log = folder / "log"
    child = ChildProcess(Command([sys.executable, "-c", program], folder, log, {"PATH": os.defpath}))
    child.start()
    child.wait_until(lambda: "set" in log.read_text() and len(family(child.pid)) > 1, timeout_s=30)
    processes = family(child.pid)
    assert child.terminate(timeout_s=0.1) == -signal.SIGKILL
    assert all(map(gone, processes))


async def test_valkey_restart_keeps_data_on_the_same_port(valkey_factory: ValkeyFactory) -> None:
    """An orderly restart keeps the data and the address."""
    server = valkey_factory()
    url = server.url
    await put(server)
    server.restart()
    assert server.url == url
    assert await get(server) == b"value"


async def test_valkey_restart_empty_loses_data(valkey_factory: ValkeyFactory) -> None:
    """A restart with `empty` keeps the address and nothing else, with an append-only file too."""
    for appendonly in (False, True):
        server = valkey_factory(appendonly=appendonly)
        url = server.url
        await put(server)
        server.restart(empty=True)
        assert server.url == url
        assert await get(server) is None


async def test_valkey_kill_loses_data_unless_append_only(valkey_factory: ValkeyFactory) -> None:
    """SIGKILL loses what was not saved; with an append-only file it loses nothing."""
    for appendonly, kept in ((False, None), (True, b"value")):
        server = valkey_factory(appendonly=appendonly)
        await put(server)
        server.kill()
        assert not server.running
        server.start()
        assert await get(server) == kept


async def test_valkey_takes_extra_arguments(valkey_factory: ValkeyFactory) -> None:
    """Further arguments reach the server."""
    async with Redis.from_url(valkey_factory(extra_args=["--maxmemory", "64mb"]).url) as client:
        assert await client.config_get("maxmemory") == {"maxmemory": str(64 << 20)}


async def test_paused_valkey_is_silent(valkey_factory: ValkeyFactory) -> None:
    """A paused server takes a request and answers it when it is resumed."""
    server = valkey_factory()
    await put(server)
    server.pause()
    answer = asyncio.create_task(get(server))
    status = psutil.Process(server.pid).status
    await eventually(lambda: status() == psutil.STATUS_STOPPED)
    done, _ = await asyncio.wait([answer], timeout=0.2)
    assert not done
    server.resume()
    assert await answer == b"value"


async def test_paused_postgres_is_silent(postgres_factory: PostgresFactory) -> None:
    """Pausing stops every backend too: a connection that exists gets its answer when the server is resumed."""
    server = postgres_factory()
    connection = await asyncpg.connect(server.url)
    server.pause()
    await eventually(lambda: {process.status() for process in family(server.pid)} == {psutil.STATUS_STOPPED})
    answer = asyncio.create_task(connection.fetchval("SELECT 7"))
    done, _ = await asyncio.wait([answer], timeout=0.2)
    assert not done
    server.resume()
    assert await answer == 7
    await connection.close()


def test_paused_server_can_be_stopped(server: EmbeddedServer) -> None:
    """Stopping a paused server resumes it first, so that it ends in order."""
    server.start()
    child = psutil.Process(server.pid)
    server.pause()
    server.stop()
    assert gone(child)
    log = server.log_path.read_text()
    assert "ready to exit" in log or "database system is shut down" in log


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
async def test_postgres_keeps_data_over_every_stop(postgres_factory: PostgresFactory, mode: StopMode) -> None:
    """Data and address survive a stop in each mode."""
    server = postgres_factory(settings={})
    url = server.url
    await query(server, "CREATE TABLE kept ()")
    server.stop(mode)
    assert not server.running
    server.start()
    assert server.url == url
    assert await table_exists(server)


async def test_killed_postgres_recovers(postgres_factory: PostgresFactory) -> None:
    """SIGKILL ends all backends at once, and the next start recovers what was committed."""
    server = postgres_factory(settings={})
    await query(server, "CREATE TABLE kept ()")
    processes = family(server.pid)
    server.kill()
    assert all(map(gone, processes))
    server.start()
    assert await table_exists(server)
    assert "automatic recovery in progress" in server.log_path.read_text()


async def test_postgres_restart_empty_loses_data(postgres_factory: PostgresFactory) -> None:
    """A restart with `empty` gives a new cluster at the same address."""
    server = postgres_factory()
    url = server.url
    await query(server, "CREATE TABLE kept ()")
    server.restart(empty=True)
    assert server.url == url
    assert not await table_exists(server)


async def test_postgres_is_utf8_durable_and_takes_settings(postgres_factory: PostgresFactory) -> None:
    """Encoding and locale do not depend on the machine; without settings fsync is on; settings win."""
    server = postgres_factory(settings={"work_mem": "9MB"})
    for name, expected in {"server_encoding": "UTF8", "lc_messages": "C", "fsync": "on", "work_mem": "9MB"}.items():
        assert await query(server, f"SHOW {name}") == expected
    assert await query(server, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "C"


async def test_broken_off_initdb_is_made_good(postgres_factory: PostgresFactory) -> None:
    """A half made cluster of a start that was broken off does not stop the next start."""
    server = postgres_factory()
    server.stop()
    cluster = server._home.data / "cluster"
    cluster.rename(cluster.with_suffix(".new"))
    server.start()
    assert await query(server, "SELECT 1") == 1


def test_free_ports_are_not_ephemeral() -> None:
    """A free port lies outside the range that the kernel hands to outgoing connections."""
    low, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert all(1024 < ports.free_port() < low for _ in range(50))


def test_free_ports_are_told_to_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was told a port has it to itself, taken or not, and is told all of its others before it again."""
    begin = ports._OurPorts().free()  # in a block that nobody else has
    monkeypatch.setattr(ports, "_PORTS", range(begin, begin + 20))
    monkeypatch.setattr(ports, "_BLOCK", 10)
    processes = ports._OurPorts(), ports._OurPorts()
    told = [[process.free() for _ in range(9)] for process in processes]
    assert len(set(told[0]) | set(told[1])) == 18
    assert told == [[process.free() for _ in range(9)] for process in processes]
    with pytest.raises(EmbeddedServerError, match="Every block of ports"):
        ports._OurPorts().free()
