"""`telemetry demo`: the whole system on embedded servers with a simulated race."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from telemetry_app.cli.running import data_folder, run


def _has_desktop() -> bool:
    """Tell whether a browser could open where the user sees it."""
    on_desktop = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or sys.platform == "darwin"
    return sys.stdout.isatty() and on_desktop


@click.command()
@click.option(
    "--for", "duration_s", type=click.FloatRange(min=1), metavar="SECONDS", help="End after this many seconds."
)
@click.option("--devices", type=click.IntRange(1, 100_000), default=40, show_default=True, help="Devices in the race.")
@click.option(
    "--hz", type=click.FloatRange(0.01, 100), default=1.0, show_default=True, help="Records a second of each."
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write a JSON report at the end; needs --for.",
)
@click.pass_context
def command(
    context: click.Context, duration_s: float | None, devices: int, hz: float, report_path: Path | None
) -> None:
    """Run everything on embedded servers with a simulated race; Ctrl-C or SIGTERM stops all of it.

    With --for it ends by itself, with status 0 when every record published was stored, a duplicate, or refused.
    """
    if report_path is not None and duration_s is None:
        raise click.UsageError("--report needs --for, since the report is written when the demo ends")
    if report_path is not None and not report_path.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {report_path.parent}", param_hint="--report")
    from telemetry_app.tools.demo.report import write_report
    from telemetry_app.tools.demo.run import DemoPlan, run_demo
    from telemetry_app.tools.embedded.process import EmbeddedServerError

    plan = DemoPlan(devices, hz, duration_s, open_browser=duration_s is None and _has_desktop())
    try:
        report = run(run_demo(plan, data_folder("demo")))
    except EmbeddedServerError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("stopped")
        return
    if report_path is not None:
        write_report(report, report_path)
    accounted = report.stored + report.duplicates + report.refused
    click.echo(
        f"published {report.published} = stored {report.stored} + duplicates {report.duplicates} "
        f"+ refused {report.refused}" + ("" if accounted == report.published else f"  MISMATCH: {accounted}")
    )
    context.exit(0 if accounted == report.published else 1)
