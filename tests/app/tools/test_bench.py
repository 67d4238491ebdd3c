"""The benchmarks as commands: what they count has to add up; how fast anything is does not matter here."""

import asyncio
import io
import socket
import threading
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from telemetry_app.cli.tables import of_latency, of_scale, of_write
from telemetry_app.live.wire.frames import PING, text_frame
from telemetry_app.tools.bench.entries import Chunk, Clock, Entries
from telemetry_app.tools.bench.helper import Helper
from telemetry_app.tools.bench.latency import LatencyResult
from telemetry_app.tools.bench.scale.measure import ScaleResult, growth
from telemetry_app.tools.bench.scale.sharing import Shared
from telemetry_app.tools.bench.sink import Connect, Connected
from telemetry_app.tools.bench.usage import allow_open_files
from telemetry_app.tools.bench.write import Drain, Measured, RawLimit, WriteResult
from telemetry_app.tools.bench.wsclient import Address, payloads, subscribe_all
from tests.app.tools.benching import bench, result_of

# They start several servers and workers, which takes a busy machine its time.
pytestmark = pytest.mark.timeout(400)


def test_write(tmp_path: Path) -> None:
    """`bench write` tells what the database takes and what a worker reached with each kind of record."""
    result = result_of(tmp_path, "write", "--records", "10000", "--devices", "50")
    assert (result["records"], result["devices"]) == (10_000, 50)
    assert list(result["kinds"]) == ["usual", "digits"]
    for measured in result["kinds"].values():
        facts = [*measured["raw"].values(), *measured["worker"].values()]
        assert all(fact > 0 for fact in [*facts, measured["throughput_ratio"], measured["cpu_ratio"]])
    assert {name: result[name] for name in result["kinds"]["usual"]} == result["kinds"]["usual"]
    shown = Console(width=160, record=True, file=io.StringIO())
    shown.print(of_write(msgspec.convert(result, WriteResult)))
    require_rows(shown.export_text(), {"usual": 3, "digits": 3})


def require_rows(shown: str, kinds: dict[str, int]) -> None:
    """Look for one line of each measurement of each of these kinds, and for none of another kind."""
    lines = shown.splitlines()
    assert [sum(f" {word} " in line for line in lines) for word in ("raw limit", "worker", "ratio")] == [len(kinds)] * 3
    assert {kind: sum(f" {kind} " in line for line in lines) for kind in ("usual", "digits")} == {"usual": 0} | kinds


def test_ratios_are_those_within_a_round() -> None:
    """A machine that is twice as fast in one round changes no ratio; of each fact the median is told."""
    rounds = [(RawLimit(100.0 * n, 2.0 / n), Drain(80.0 * n, 6.0 / n, 100.0 + n)) for n in (1, 4, 2)]
    assert Measured.of(rounds) == Measured(RawLimit(200.0, 1.0), Drain(160.0, 3.0, 102.0), 0.8, 3.0)
    uneven = [(RawLimit(100.0, 1.0), Drain(50.0, 4.0, 1.0)), (RawLimit(300.0, 1.0), Drain(90.0, 2.0, 1.0)), rounds[0]]
    assert (Measured.of(uneven).throughput_ratio, Measured.of(uneven).cpu_ratio) == (0.5, 3.0)


def test_scale(tmp_path: Path) -> None:
    """`bench scale` stores every record once with each number of workers, sharded and distributed, and adds up."""
    result = result_of(tmp_path, "scale", "--records", "4000", "--workers", "1,2", "--rounds", "1")
    assert [result["single"][name] for name in ("workers", "partitions")] == [1, 1]
    for rows, distributed in ((result["sharded"], False), (result["distributed"], True)):
        assert [(row["workers"], row["partitions"], row["distributed"]) for row in rows] == [
            (1, 8, distributed),
            (2, 8, distributed),
        ]
        assert all(row["records_per_s"] > 0 and row["cpu_us_per_record"] > 0 for row in rows)
    one, two = (row["cpu_us_per_record"] for row in result["sharded"])
    assert result["cpu_growth"] == pytest.approx(two / one, abs=0.01)
    fewest, most = (row["cpu_us_per_record"] for row in result["distributed"])
    assert result["distributed_cpu_growth"] == pytest.approx(most / fewest, abs=0.01)
    more = [row["cpu_us_per_record"] - one_us for row, one_us in zip(result["distributed"], (one, two), strict=True)]
    assert result["distributed_us"] == pytest.approx(more, abs=0.01)
    assert result["hop_ratio"] == pytest.approx(result["hop_us"] / result["bare_hop_us"], abs=0.01)
    shown = Console(width=160, record=True, file=io.StringIO())
    shown.print(of_scale(msgspec.convert(result, ScaleResult)))
    lines = shown.export_text().splitlines()
    assert [sum(f" {way} " in line for line in lines) for way in ("one stream", "sharded", "distributed")] == [1, 2, 2]


def test_growth_is_that_within_a_round() -> None:
    """A machine that is twice as slow in one round changes no growth; of each fact the median is told."""
    distributed = True
    fewest, most = (
        [Shared(workers, 8, distributed, 900 // slow, used_us * slow, 0.01 * slow) for slow in (1, 3, 2)]
        for workers, used_us in ((1, 10.0), (4, 11.0))
    )
    assert growth(fewest, most) == 1.1
    assert Shared.of(most) == Shared(4, 8, distributed, 450, 22.0, 0.02)


def test_live(tmp_path: Path) -> None:
    """`bench live` counts what every subscriber received: each position once, none conflated, for worker and loop."""
    result = result_of(tmp_path, "live", "--subscribers", "20", "--idle", "30", "--seconds", "0.3")
    loads = [result["reference"], result["worker"], *result["crowds"]]
    assert [(load["subscribers"], load["chunk"]) for load in loads] == [
        (20, 500),
        (20, 500),
        (10, 100),
        (20, 100),
        (30, 100),
    ]
    for load in loads:
        assert load["records"] > 0
        assert load["records"] % load["chunk"] == 0
        assert load["received"] == load["expected"] == load["records"] * load["subscribers"]
        assert load["conflated"] == 0
        assert load["cpu_us_per_delivery"] > 0
    ratio = result["worker"]["deliveries_per_s"] / result["reference"]["deliveries_per_s"]
    assert result["throughput_ratio"] == pytest.approx(ratio, abs=0.06)
    few, ordinary, many = (load["cpu_us_per_record"] for load in result["crowds"])
    further = [(ordinary - few) / 10, (many - ordinary) / 10]
    assert result["cpu_us_per_further_delivery"] == pytest.approx(further, abs=0.001)
    assert result["idle"]["connections"] == 30


def test_latency(tmp_path: Path) -> None:
    """`bench latency` receives every record once and in order on all ways, and all that is to be stored is."""
    result = result_of(tmp_path, "latency", "--rates", "50,400", "--seconds", "0.5")
    assert [at_rate["rate"] for at_rate in result["rates"]] == [50, 400]
    for at_rate in result["rates"]:
        for compared in (at_rate["live_alone"], at_rate["both_sides"]):
            bare, worker = compared["bare"], compared["worker"]
            for way in (bare, worker):
                # A fifth of a second more in each of five turns, which only warms up.
                assert way["published"] == way["received"] == at_rate["rate"] * 1.5
                assert way["counted"] == at_rate["rate"] / 2
                assert 0 < way["p50_us"] <= way["p99_us"] <= way["p999_us"]
            assert compared["p50_ratio"] == pytest.approx(worker["p50_us"] / bare["p50_us"], abs=0.01)
        stalled = at_rate["beside_stalled"]
        assert stalled["worker"]["received"] == at_rate["rate"] * 1.5
        assert 0 <= stalled["left_out"] <= stalled["sockets"] * stalled["worker"]["received"]
        alone = at_rate["live_alone"]["worker"]
        assert stalled["p99_ratio"] == pytest.approx(stalled["worker"]["p99_us"] / alone["p99_us"], abs=0.01)
    assert result["stored"] == result["to_store"] == 2 * 1.5 * (50 + 400)
    shown = Console(width=160, record=True, file=io.StringIO())
    shown.print(of_latency(msgspec.convert(result, LatencyResult)))
    lines = shown.export_text().splitlines()
    ways = ("bare path", "bare path while storing", "live side alone", "both sides", "ratio", "beside 20 stalled")
    assert [sum(f" {way}" in f"{line} " for line in lines) for way in ways] == [4, 2, 4, 2, 6, 2]


def test_table(tmp_path: Path) -> None:
    """Without --json the result is a table."""
    done = bench(tmp_path, "write", "--records", "10000", "--kind", "digits")
    assert done.returncode == 0
    require_rows(done.stdout, {"digits": 3})


def test_a_refused_client() -> None:
    """A server that refuses a client is reported with its answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}")
                client.recv(4096)

        refusing = threading.Thread(target=refuse)
        refusing.start()
        with pytest.raises(RuntimeError, match=r"the upgrade was refused: HTTP/1\.1 503 Service Unavailable"):
            subscribe_all(Address(server.getsockname()[1], "/live"), "event:1", 1)
        refusing.join(10)


@pytest.mark.parametrize("rates", ["", "0", "100,", "100;200", "100001"])
def test_bad_rates(tmp_path: Path, rates: str) -> None:
    """Malformed rates are refused before anything is started."""
    done = bench(tmp_path, "latency", "--rates", rates)
    assert done.returncode == 2
    assert "Error: Invalid value for '--rates'" in done.stderr
    assert not (tmp_path / ".data").exists()


def test_a_server_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is reported without a traceback."""
    monkeypatch.setenv("FAUST_LOOP", "nonsense")
    done = bench(tmp_path, "latency", "--rates", "100", "--seconds", "0.1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ended with status 1 before it was ready" in done.stderr
    assert "FAUST_LOOP" in done.stderr
    assert "Traceback" not in done.stderr


def test_too_few_open_files() -> None:
    """A limit that cannot be raised is named, with the number that is needed."""
    with pytest.raises(RuntimeError, match=r"9223372036854775806 open files are needed, but this system allows \d+"):
        allow_open_files(2**63 - 2)


async def test_helper_tells_why_not() -> None:
    """An order that cannot be carried out fails with its reason, and the next one is carried out."""
    async with Helper("telemetry_app.tools.bench.sink") as sink:
        with pytest.raises(RuntimeError, match="ConnectionRefusedError"):
            await sink.ask(Connect(port=1, path="/live", topic="event:1", subscribers=1), Connected)
        nobody = await sink.ask(Connect(port=1, path="/live", topic="event:1", subscribers=0), Connected)
    assert nobody == Connected(0)


async def test_helper_that_ends() -> None:
    """A helper that ends on its own is reported with its status."""
    async with Helper("telemetry_app.cli.commands.worker.nothing") as helper:
        with pytest.raises(RuntimeError, match="ended with status 1"):
            await asyncio.wait_for(helper.ask(Connected(0), Connected), 60)


def test_chunks_are_alike() -> None:
    """Every chunk has the same length, and its positions and entries are newer than those of the one before."""
    clock, chunk = Clock(), Chunk("s", 12)
    times = [clock.tick() for _ in range(50)]
    assert times == sorted(set(times))
    assert len({len(chunk.at(*tick)) for tick in times}) == 1
    assert chunk.at(*times[0]).count(b"XADD") == 12


def test_entries_take_turns() -> None:
    """Entries are of one device after the other, each with the time it is given."""
    entries = Entries("s", 2)
    first, second, third = (entries.at(number, b"2026-01-01T00:00:00.00%dZ" % number) for number in range(3))
    assert b"00.000Z" in first
    assert b"00.001Z" in second
    assert third == first.replace(b"00.000Z", b"00.002Z")


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_of_every_length(length: int) -> None:
    """Whole text frames are found, whatever their length; pings and what is not complete are not."""
    payload = b"x" * length
    data = PING + text_frame(payload) + PING + text_frame(b"second") + text_frame(payload)[:-1]
    found = [data[begin:end] for begin, end in payloads(data)]
    assert found == [payload, b"second"]
