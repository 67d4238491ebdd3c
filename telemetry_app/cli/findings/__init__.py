"""What `telemetry check` finds out; nothing is changed but for one key of Redis, which is deleted again."""
