"""Faust tables; what is kept in them lives in `telemetry_app`."""
