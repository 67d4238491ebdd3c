"""`telemetry bench`: each module measures, or helps to measure, in processes of its own."""
