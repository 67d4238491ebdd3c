"""What Faust and the agents import: the application, its topic and channels, and the sides that run."""

from __future__ import annotations

from faust_redis import BatchSchema, DrainingChannel
from telemetry_app.assembly.faust_app import build_app
from telemetry_app.assembly.operations import build_operations
from telemetry_app.operations import collector
from telemetry_app.serving import descriptors
from telemetry_app.settings import SettingsError, load_settings

collector.collect_less_often()
descriptors.raise_limit()
try:
    settings = load_settings()
    if settings.roles == {"live"}:
        settings.require_live_auth()
    if settings.has_live_side:
        settings.require_basemap()
except SettingsError as error:
    # The same one sentence, whichever command imports this module.
    raise SystemExit(f"Error: {error}") from None

operations = build_operations(settings)
# Of a side that does not run, nothing is imported or built: agents that ask for it are not discovered either.
if settings.has_write_side:
    from telemetry_app.assembly.write_side import build_write_side

    write_side = build_write_side(settings, operations)
if settings.has_live_side:
    from telemetry_app.assembly.live_side import build_live_side

    # The channel needs the application, and the application its sides: hence looked up when a batch comes.
    live_side = build_live_side(settings, operations, put=lambda batch: broadcast_batches.put(batch))  # noqa: PLW0108 - see above

app = build_app(
    settings,
    operations,
    write_side=write_side if settings.has_write_side else None,
    live_side=live_side if settings.has_live_side else None,
)
telemetry_topic = app.topic(
    settings.redis_telemetry_stream, partitions=settings.redis_telemetry_partitions, schema=BatchSchema()
)
#: From the decode agent to the writer agent; its bound is the back pressure of a slow database.
decoded_batches = DrainingChannel(app, maxsize=settings.write_concurrency)
#: From the reader of the broadcast to its agent.
broadcast_batches: DrainingChannel = DrainingChannel(app, maxsize=2)
