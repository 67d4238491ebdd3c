"""`telemetry bench`: measure against the raw limit of the same machine, in one run."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from telemetry_app.cli.running import data_folder, run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from rich.console import RenderableType

    Measure = Callable[[Path, Callable[[str, float], None]], Coroutine[Any, Any, "_Result"]]

_Result = TypeVar("_Result")

_WIDE: Final = 160

_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


class Numbers(click.ParamType):
    """Whole numbers, separated by commas."""

    name = "N,…"

    def __init__(self, least: int, most: int) -> None:
        self._bounds = click.IntRange(least, most)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Return the numbers in the order given."""
        return [self._bounds.convert(number, param, ctx) for number in str(value).split(",")]


@click.group()
def command() -> None:
    """Measure, in one run, against the raw limit of the same machine.

    Servers are started for it and removed afterwards. Leave the machine alone meanwhile.
    """


@command.command()
@click.option("--records", type=click.IntRange(10_000, 10_000_000), default=200_000, show_default=True)
@click.option("--devices", type=click.IntRange(1, 1_000_000), default=500, show_default=True)
@click.option(
    "--kind",
    type=click.Choice(["usual", "digits"]),
    help="Only records as most trackers send, or only records rich in digits.  [default: both, one after the other]",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="How often both take their turns; the medians count.",
)
@_as_json
def write(records: int, devices: int, kind: str | None, rounds: int, as_json: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Measure the durable side: a worker draining a backlog, compared with the same INSERT alone."""
    from telemetry_app.cli.tables import of_write
    from telemetry_app.tools.bench.write import WritePlan, measure
    from telemetry_app.tools.simulation.backlog import RecordKind

    kinds = [RecordKind(kind)] if kind else list(RecordKind)
    result = _run(lambda folder, say: measure(WritePlan(records, devices, kinds, rounds), folder, say))
    _show(result, of_write, as_json=as_json)


@command.command()
@click.option("--subscribers", type=click.IntRange(1, 10_000), default=500, show_default=True)
@click.option(
    "--idle",
    type=click.IntRange(10, 10_000),
    default=5000,
    show_default=True,
    help="Connections whose memory is measured while they are idle; afterwards they receive positions.",
)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=5.0, show_default=True, help="How long each load lasts."
)
@_as_json
def live(subscribers: int, idle: int, seconds: float, as_json: bool) -> None:  # noqa: FBT001 - see above
    """Measure the live side: positions to many subscribers, compared with one send for each frame and subscriber.

    Positions are published as fast as every subscriber receives them, so that none is conflated; what is counted has
    been received.
    """
    from telemetry_app.cli.tables import of_live
    from telemetry_app.tools.bench.live import LivePlan, measure

    result = _run(lambda folder, say: measure(LivePlan(subscribers, idle, seconds), folder, say))
    _show(result, of_live, as_json=as_json)


@command.command()
@click.option(
    "--rates", type=Numbers(1, 100_000), default="100,1000,5000", show_default=True, help="Records per second."
)
@click.option(
    "--seconds",
    # The worker's pings go unanswered during the other ways' turns.
    type=click.FloatRange(0.1, 30),
    default=10.0,
    show_default=True,
    help="How long each way is measured.",
)
@_as_json
def latency(rates: list[int], seconds: float, as_json: bool) -> None:  # noqa: FBT001 - see above
    """Measure the time from XADD to a subscriber, with the durable side running, compared with the shortest way."""
    from telemetry_app.cli.tables import of_latency
    from telemetry_app.tools.bench.latency import LatencyPlan, measure

    result = _run(lambda folder, say: measure(LatencyPlan(rates, seconds), folder, say))
    _show(result, of_latency, as_json=as_json)


@command.command()
@click.option("--records", type=click.IntRange(1000, 10_000_000), default=200_000, show_default=True)
@click.option("--devices", type=click.IntRange(8, 1_000_000), default=500, show_default=True)
@click.option("--workers", type=Numbers(1, 8), default="1,2,4", show_default=True, help="Numbers of workers.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="How often all is measured.")
@_as_json
def scale(records: int, devices: int, workers: list[int], rounds: int, as_json: bool) -> None:  # noqa: FBT001 - see above
    """Measure several workers draining a backlog of 8 partitions, sharded by the producer and from one stream.

    Beside them one worker on one stream; and the distributor by itself, in turns with a bare loop that reads a stream
    and appends to the partitions.

    Processor time is what the records cost: workers have stored some thousands before, and what they use as long with
    nothing to do is measured and taken off.
    """
    from telemetry_app.cli.tables import of_scale
    from telemetry_app.tools.bench.scale.measure import ScalePlan, measure

    result = _run(lambda folder, say: measure(ScalePlan(records, devices, workers, rounds), folder, say))
    _show(result, of_scale, as_json=as_json)


@command.command()
@click.option(
    "--spectators",
    type=Numbers(1, 100_000),
    default="10,1000,10000",
    show_default=True,
    help="Numbers of spectators, one after the other.",
)
@click.option("--seconds", type=click.IntRange(1, 20), default=10, show_default=True, help="How long each race lasts.")
@_as_json
def race(spectators: list[int], seconds: int, as_json: bool) -> None:  # noqa: FBT001 - see above
    """Measure a worker in a race: 200 trackers that send once a second, and spectators of all of them.

    Each side alone, then both with each number of spectators, who get positions one by one or, where the worker grants
    it, in batches, plain and compressed. For up to 1,000 spectators also as if sending might take the whole worker: a
    write for each read. Beside each a bare loop sends as many bytes to as many sockets: what the worker takes for each
    write is also told in such sends ("bare sends"). First a spectator among ten is compared with the shortest way.
    Each spectator takes an open file in two processes, and each process 480 more (ulimit -Hn).

    "Others waited" is the processor time that the worker took until it told its health, at most: while all connected,
    and in the race. The list at the end has what was to be reached, and what was NOT.
    """
    from telemetry_app.cli.tables import of_race
    from telemetry_app.tools.bench.race.run import RacePlan, measure

    result = _run(lambda folder, say: measure(RacePlan(spectators, seconds), folder, say))
    _show(result, of_race, as_json=as_json)


def _run(measure: Measure[_Result]) -> _Result:
    """Run a measurement, on the event loop that the worker uses, with a progress bar on a terminal."""
    import mode.loop
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    from telemetry_app.tools.embedded.process import EmbeddedServerError

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    if find_spec("uvloop"):
        mode.loop.use("uvloop")
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=1.0)

        def say(what: str, done: float) -> None:
            progress.update(task, description=what, completed=done)

        try:
            return run(measure(data_folder("bench"), say))
        except (EmbeddedServerError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error


def _show(result: _Result, table_of: Callable[[_Result], RenderableType], *, as_json: bool) -> None:
    import msgspec
    from rich.console import Console

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result)))
    else:
        # What is not a terminal has no width: figures are not to be cut there.
        Console(width=None if sys.stdout.isatty() else _WIDE).print(table_of(result))
