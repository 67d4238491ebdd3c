"""Mirrors the rooms of `telemetry_app`."""
