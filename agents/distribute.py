"""The records of the plain stream to the partitions of their devices, where the producer does not choose these."""

from telemetry_app.app import app, write_side

app.service(write_side.distributor)  # type: ignore[arg-type]  # Faust takes one that is made already, too
