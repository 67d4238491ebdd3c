"""The subcommands of `telemetry`, a module each."""
