"""GPS telemetry from a Redis Stream to TimescaleDB and to live maps."""
