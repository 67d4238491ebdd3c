"""`telemetry bench race`: records that come one by one, and a crowd of spectators on one worker."""
