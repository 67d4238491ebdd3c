"""Faust agents, one call each; what they call lives in `telemetry_app`."""
