"""Results of benchmarks as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table

if TYPE_CHECKING:
    from telemetry_app.tools.bench.latency import Compared, LatencyResult, Stalled
    from telemetry_app.tools.bench.live import LiveResult
    from telemetry_app.tools.bench.probe import Latency
    from telemetry_app.tools.bench.race.result import Crowd, RaceResult
    from telemetry_app.tools.bench.scale.measure import ScaleResult
    from telemetry_app.tools.bench.targets import Load
    from telemetry_app.tools.bench.write import WriteResult


def of_write(result: WriteResult) -> Table:
    """Return the table of `telemetry bench write`."""
    title = f"{result.records:,} records of {result.devices:,} devices"
    table = _table(title, "attributes", "records/s", "CPU/record", "peak RSS")
    for kind, measured in result.kinds.items():
        raw, worker = measured.raw, measured.worker
        table.add_row("raw limit", kind, f"{raw.rows_per_s:,.0f}", f"{raw.cpu_us_per_row:.2f} us", "")
        used, peak = f"{worker.cpu_us_per_record:.2f} us", f"{worker.peak_rss_mb:.0f} MB"
        table.add_row("worker", kind, f"{worker.records_per_s:,.0f}", used, peak)
        table.add_row("ratio", kind, f"{measured.throughput_ratio:.2f}", f"{measured.cpu_ratio:.2f}", end_section=True)
    return table


def of_scale(result: ScaleResult) -> Table:
    """Return the table of `telemetry bench scale`."""
    title = f"{result.records:,} records of {result.devices:,} devices, medians of {result.rounds}"
    table = _table(title, "workers", "partitions", "records/s", "CPU/record", "CPU idle")
    for name, rows in (
        ("one stream", [result.single]),
        ("sharded", result.sharded),
        ("distributed", result.distributed),
    ):
        for row in rows:
            used = f"{row.cpu_us_per_record:.2f} us"
            idle = f"{row.idle_cpu:.1%}"
            table.add_row(name, str(row.workers), str(row.partitions), f"{row.records_per_s:,.0f}", used, idle)
        table.add_section()
    more = ", ".join(f"{more_us:.2f}" for more_us in result.distributed_us)
    table.caption = (
        f"most workers to fewest: {result.cpu_growth:.2f} times the CPU for each record sharded, "
        f"{result.distributed_cpu_growth:.2f} times distributed; "
        f"the distributor by itself: {result.hop_us:.2f} us, {result.hop_ratio:.2f} times a bare loop's "
        f"{result.bare_hop_us:.2f} us; workers use {more} us more where one distributes"
    )
    return table


def of_live(result: LiveResult) -> Table:
    """Return the table of `telemetry bench live`."""
    table = _table(
        "positions to subscribers", "subscribers", "at once", "deliveries/s", "CPU/delivery", "CPU/record", "conflated"
    )
    _add_load(table, "one send_str each", result.reference)
    _add_load(table, "worker", result.worker)
    table.add_row("ratio", "", "", f"{result.throughput_ratio:,.1f}", f"{result.cpu_ratio:,.1f}", end_section=True)
    for load in result.crowds:
        _add_load(table, "worker", load)
    idle = result.idle
    further = ", ".join(f"{cost_us:.3f}" for cost_us in result.cpu_us_per_further_delivery)
    table.caption = (
        f"each further delivery of a record: {further} us; "
        f"{idle.connections:,} idle connections: {idle.rss_kb_per_connection:.1f} KB each"
    )
    return table


def of_latency(result: LatencyResult) -> Table:
    """Return the table of `telemetry bench latency`."""
    table = _table("XADD to frame received", "records/s", "p50", "p99", "p99.9", "CPU")
    for at_rate in result.rates:
        rate, alone, both, stalled = at_rate.rate, at_rate.live_alone, at_rate.both_sides, at_rate.beside_stalled
        _add_latency(table, "bare path", rate, alone.bare)
        _add_latency(table, "live side alone", rate, alone.worker)
        _add_ratio(table, "ratio", alone)
        _add_latency(table, "bare path while storing", rate, both.bare)
        _add_latency(table, "both sides", rate, both.worker)
        _add_ratio(table, "ratio", both)
        _add_latency(table, f"live side beside {stalled.sockets} stalled clients", rate, stalled.worker)
        _add_ratio(table, f"{stalled.left_out:,} frames left out; ratio to live side alone", stalled)
    table.caption = f"{result.stored:,} of {result.to_store:,} records stored meanwhile"
    return table


def of_race(result: RaceResult) -> Group:
    """Return what `telemetry bench race` prints: tables that fit an ordinary terminal, and what was to be reached."""
    beside = result.beside_bare_path
    came = _narrow(
        f"{result.devices:,} trackers at {result.hz:g} Hz, one by one: what came",
        "spec-\ntators", "p50\nms", "p99\nms", "max\nms", "missing", "bytes a\nposition", "stored\np99 ms",
        "client\nCPU",
    )  # fmt: skip
    took = _narrow(
        "what the worker took",
        "spec-\ntators", "CPU", "us a\ndelivery", "us a\nwrite", "bare\nsends", "KB when\nidle", "others\nwaited ms",
    )  # fmt: skip
    for crowd in result.crowds:
        _add_crowd(came, took, crowd)
    bare, worker = (
        f"{latency.p50_us / 1000:.2f} / {latency.p99_us / 1000:.2f} ms" for latency in (beside.bare, beside.worker)
    )
    lines = (
        f"p50 / p99 at a steady rate: bare path {bare}, a spectator among ten {worker}",
        *(
            f"{'ok ' if goal.reached else 'NOT'}  {goal.what}: {goal.measured:,.2f} (at most {goal.at_most:,g})"
            for goal in result.goals
        ),
    )
    return Group(came, "", took, "", *lines)


def _add_crowd(came: Table, took: Table, crowd: Crowd) -> None:
    cost, taken = crowd.cost, crowd.taken
    what = f"{crowd.roles}: {crowd.way}" if crowd.spectators else crowd.roles
    number = f"{crowd.spectators:,}"
    came.add_row(
        what,
        number,
        *(f"{ms:,.1f}" for ms in (taken.p50_ms, taken.p99_ms, taken.max_ms)),
        f"{crowd.expected - crowd.delivered:,}",
        f"{cost.bytes_per_position:.0f}",
        f"{crowd.durable.p99_ms:,.0f}" if crowd.durable else "",
        f"{crowd.client_cpu:.0%}",
    )
    took.add_row(
        what,
        number,
        f"{cost.cpu:.1%}",
        f"{cost.cpu_us_per_delivery:.2f}",
        f"{cost.cpu_us_per_write:.1f}",
        f"{cost.bare_sends_per_write:.1f}",
        f"{crowd.kb_per_connection:.1f}",
        f"{crowd.connecting_wait_ms:.0f} / {crowd.racing_wait_ms:.0f}",
    )


def _narrow(title: str, *headings: str) -> Table:
    """Return a table of many columns, of which only the first gives way where there is no room."""
    table = Table(title=title, box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for heading in ("", *headings):
        table.add_column(heading, justify="right")
    return table


def _add_load(table: Table, what: str, load: Load) -> None:
    table.add_row(
        what,
        f"{load.subscribers:,}",
        f"{load.chunk:,}",
        f"{load.deliveries_per_s:,.0f}",
        f"{load.cpu_us_per_delivery:.3f} us",
        f"{load.cpu_us_per_record:,.1f} us",
        f"{load.conflated:,}",
    )


def _add_latency(table: Table, what: str, rate: int, latency: Latency) -> None:
    percentiles = (latency.p50_us, latency.p99_us, latency.p999_us)
    times = (f"{percentile / 1000:.2f} ms" for percentile in percentiles)
    table.add_row(what, f"{rate:,}", *times, f"{latency.server_cpu:.0%}")


def _add_ratio(table: Table, what: str, compared: Compared | Stalled) -> None:
    table.add_row(what, "", f"{compared.p50_ratio:.1f}", f"{compared.p99_ratio:.1f}", "", "", end_section=True)
