"""`telemetry bench race`: what it counts has to add up, and positions are found in frames of every kind."""

import io
import select
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from telemetry_app.cli.tables import of_race
from telemetry_app.live.wire.frames import PING, text_frame
from telemetry_app.tools.bench.latency import Compared
from telemetry_app.tools.bench.probe import Latency
from telemetry_app.tools.bench.race.crowd import acknowledge, delay_acknowledgements
from telemetry_app.tools.bench.race.incoming import Incoming
from telemetry_app.tools.bench.race.result import Cost, Crowd, Durable, RaceResult, Way, goals
from telemetry_app.tools.bench.race.spectators import Spectators, Taken, Watch, Watched, _Spectator
from tests.app.tools.benching import result_of

#: A packet that is not acknowledged for so long counts as lost.
LONG_S = 0.25


@pytest.mark.timeout(400)
def test_race(tmp_path: Path) -> None:
    """Every record reaches every spectator once and in order in every way, and is stored."""
    result = result_of(tmp_path, "race", "--spectators", "3", "--seconds", "1")
    crowds = [(crowd["roles"], crowd["spectators"]) for crowd in result["crowds"]]
    assert crowds[:5] == [("write", 0), ("live", 0), ("live", 10), ("write,live", 0), ("write,live", 3)]
    ways = [crowd["way"] for crowd in result["crowds"] if crowd["spectators"] == 3]
    # The last ones are left out when the worker does not grant them.
    assert ways == [way.value for way in Way][: len(ways)]
    assert len(ways) >= 3
    for crowd in result["crowds"]:
        assert crowd["records"] == result["devices"] * result["hz"]
        assert crowd["delivered"] == crowd["expected"] == crowd["records"] * crowd["spectators"]
        assert (crowd["conflated"], crowd["lost"]) == (0, 0)
        assert (crowd["durable"] is None) == (crowd["roles"] == "live")
        # Without spectators a second may take less than one tick of the system's clock.
        assert crowd["cost"]["cpu"] >= (0.001 if crowd["spectators"] else 0)
        assert (crowd["cost"]["bare_sends_per_write"] > 0) == bool(crowd["spectators"])
        taken = crowd["taken"]
        assert crowd["racing_wait_ms"] > 0
        assert (0 < taken["p50_ms"] <= taken["p99_ms"] <= taken["max_ms"]) == bool(crowd["spectators"])
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(of_race(msgspec.convert(result, RaceResult)))
    lines = shown.export_text().splitlines()
    names = ("write,live  ", "write,live: plain  ")
    assert [sum(line.startswith(name) for line in lines) for name in names] == [2, 2]


def crowd(
    spectators: int,
    way: Way,
    *,
    cpu: float = 0.1,
    us_per_delivery: float = 1.0,
    delivered: int = 1,
    stored_p99_ms: float = 2.0,
) -> Crowd:
    return Crowd(
        roles="write,live",
        way=way,
        spectators=spectators,
        records=1,
        expected=1,
        delivered=delivered,
        conflated=0,
        lost=0,
        taken=Taken(1.0, 2.0, 3.0),
        durable=Durable(1.0, stored_p99_ms),
        cost=Cost(cpu, us_per_delivery, 1.0, 1.1, 40.0),
        kb_per_connection=17.0,
        connecting_wait_ms=4.0,
        racing_wait_ms=11.0,
        client_cpu=0.1,
    )


def test_goals() -> None:
    """What was to be reached is told of what was measured, reached or not."""
    small = crowd(1000, Way.DEFLATE, cpu=0.21)
    large = crowd(10_000, Way.DEFLATE, us_per_delivery=1.2, delivered=0, stored_p99_ms=101)
    latency = Latency(1, 1, 1, 1.0, 1.0, 1.0, 1.0, 0.1)
    compared = Compared(latency, latency, 2.0, 5.1)
    found = {goal.what: (goal.measured, goal.at_most, goal.reached) for goal in goals([small, large], compared)}
    assert found["10 spectators: p50, times the bare path's"] == (2, 3, True)
    assert found["10 spectators: p99, times the bare path's"] == (5.1, 5, False)
    name = "write,live, {} spectators, batch and deflate: {}"
    assert found[name.format("1,000", "% of a processor")] == (21, 20, False)
    assert found[name.format("1,000", "bytes for each position")] == (40, 65, True)
    assert found[name.format("10,000", "bytes for each position")] == (40, 35, False)
    assert found[name.format("1,000", "longest wait of others in ms")] == (11, 10, False)
    assert found[name.format("10,000", "positions missing")] == (1, 0, False)
    assert found[name.format("1,000", "stored, p99 in ms")] == (2, 100, True)
    assert found[name.format("10,000", "stored, p99 in ms")] == (101, 100, False)
    flat = "batch and deflate: a delivery to 10,000 spectators, times one to 1,000"
    assert found[flat] == (1.2, 1.15, False)


def test_the_tables_fit_a_terminal() -> None:
    """Of 80 columns: no heading and no figure is cut."""
    latency = Latency(1, 1, 1, 1.0, 1.0, 1.0, 1.0, 0.1)
    crowds = [crowd(10_000, Way.DEFLATE, us_per_delivery=123.456)]
    shown = Console(width=80, record=True, file=io.StringIO())
    shown.print(of_race(RaceResult(200, 1.0, Compared(latency, latency, 2.0, 5.0), crowds, [])))
    text = shown.export_text()
    assert "…" not in text
    assert {"position", "delivery", "waited", "123.46", "10.0%"} <= set(text.split())


def test_incoming() -> None:
    """Positions are found in plain and in compressed frames, pings beside them, and what is not whole stays."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = b'{"positions":[{"ts":3},{"ts":4}]}'
    deflated = (compressor.compress(body) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    compressed = b"\xc1" + bytes([len(deflated)]) + deflated
    incoming = Incoming()
    begun = text_frame(b'{"ts":5}')
    piece = incoming.read(text_frame(b'{"ts":1}') + PING + text_frame(b'{"ts":2}') + compressed + begun[:-2])
    assert (piece.stamps, piece.has_ping, piece.rest) == ((1, 2, 3, 4), True, begun[:-2])
    piece = incoming.read(piece.rest + begun[-2:])
    assert (piece.stamps, piece.has_ping, piece.rest) == ((5,), False, b"")


#: Frames alike, so that their pieces are.
SENT = [text_frame(b'{"ts":%d}' % (number // 2)) for number in range(6)]
SENT[2:2] = SENT[5:5] = [PING]


@given(st.lists(st.sets(st.integers(1, len(b"".join(SENT)) - 1), max_size=5), min_size=1, max_size=4))
def test_incoming_of_several(cuts: list[set[int]]) -> None:
    """Each spectator has everything once, in whatever pieces it comes to each and whatever comes to others between."""
    incoming, sent = Incoming(), b"".join(SENT)
    ends = [sorted({*some, len(sent)}) for some in cuts]
    begins, rests = [0] * len(cuts), [b""] * len(cuts)
    stamps: list[list[int]] = [[] for _ in cuts]
    pings = [0] * len(cuts)
    while any(ends):
        for number, left in enumerate(ends):
            if left:
                begin, begins[number] = begins[number], left.pop(0)
                piece = incoming.read(rests[number] + sent[begin : begins[number]])
                stamps[number] += piece.stamps
                pings[number] += piece.has_ping
                rests[number] = piece.rest
    assert stamps == [[0, 0, 1, 1, 2, 2]] * len(cuts)
    assert rests == [b""] * len(cuts)
    # Two that come in one piece are answered by one sign of life.
    assert set(pings) <= {1, 2}


def test_a_crowd_acknowledges_in_its_own_time() -> None:
    """What comes after a long silence, which the system would acknowledge while it is sent, is when it was read.

    Once it comes to that later than the system waits, which is 40 ms.
    """
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as receiver:
        sender, _ = server.accept()
        with sender:
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            delay_acknowledgements(receiver)
            waiting: list[int] = []
            for late_s in (LONG_S, 0, 0, 0):
                time.sleep(LONG_S)
                sender.send(b"frame")
                waiting.append(unacknowledged(sender))
                time.sleep(late_s)
                receiver.recv(100)
                acknowledge(receiver, 0)
                assert unacknowledged(sender) == 0
            # A machine that stands still for as long leaves one or the other to the system after all.
            assert 1 in waiting[1:]


def unacknowledged(sender: socket.socket) -> int:
    """Return how many packets the other end has not acknowledged, by Linux' `tcp_info`."""
    info = sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (packets,) = struct.unpack_from("=I", info, 24)
    return int(packets)


@pytest.fixture
def watching() -> Iterator[tuple[Spectators, socket.socket]]:
    """One spectator, and the server's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        theirs, _ = server.accept()
        one.settimeout(0)
        spectators = Spectators()
        spectators._poll.register(one.fileno(), select.EPOLLIN)
        spectators._all[one.fileno()] = _Spectator(one, is_witness=True)
        with theirs:
            yield spectators, theirs


def test_a_watch_ends_though_pings_come(
    watching: tuple[Spectators, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A position that never comes is missing, though the server goes on asking for signs of life."""
    spectators, server = watching
    monkeypatch.setattr("telemetry_app.tools.bench.race.spectators._STALLED_S", 0.3)
    is_over = threading.Event()

    def ping() -> None:
        # For so long only that the watch ends in any case.
        for _ in range(100):
            server.send(PING)
            if is_over.wait(0.1):
                break

    pinging = threading.Thread(target=ping)
    pinging.start()
    watched = spectators.carry_out(Watch(1))
    went_on = pinging.is_alive()
    is_over.set()
    pinging.join()
    assert isinstance(watched, Watched)
    assert (went_on, watched.delivered, watched.lost) == (True, 0, 0)


def test_a_spectator_that_is_cut_off_behind_a_ping_is_lost(watching: tuple[Spectators, socket.socket]) -> None:
    """The ping is read, and cannot be answered: that is no failure of the others."""
    spectators, server = watching
    server.send(PING)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    watched = spectators.carry_out(Watch(1))
    assert isinstance(watched, Watched)
    assert (watched.reads, watched.lost) == (1, 1)
