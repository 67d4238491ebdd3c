"""`telemetry course`: the courses of events."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click


@click.group("course")
def command() -> None:
    """Make what Directus holds of the courses of events."""


@command.command("import")
@click.argument("file", type=click.File("rb"), metavar="FILE")
def import_course(file: BinaryIO) -> None:
    """Print the GeoJSON of a GPX file (- = from a pipe), for the event's field in Directus.

    Tracks become lines, or routes where there are no tracks; waypoints become marks, of which those named Start and
    Finish say where these are. Lines are thinned to what a map shows, elevations and times left out.
    """
    from telemetry_app.cli.gpx import MAX_BYTES, GpxError
    from telemetry_app.live.wire.course import BadCourseError

    try:
        course = _course_of(file.read(MAX_BYTES + 1))
    except (GpxError, BadCourseError) as error:
        raise click.ClickException(f"{file.name} cannot be a course: {error}.") from None
    except OSError as error:
        raise click.ClickException(f"{file.name} cannot be read: {error.strerror}.") from None
    click.echo(course)


def _course_of(data: bytes) -> bytes:
    """Make the course with a progress bar on a terminal: a recording of many points takes seconds."""
    from rich.console import Console
    from rich.progress import Progress

    from telemetry_app.cli.gpx import read_gpx
    from telemetry_app.live.wire.course import MAX_VERTICES, fit_course

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        bar.add_task("reading and thinning", total=None)
        # Some room is left for the points that splitting at 180° of longitude adds.
        return fit_course(read_gpx(data, max_points=MAX_VERTICES - 1000))
