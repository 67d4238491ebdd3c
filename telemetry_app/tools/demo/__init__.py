"""`telemetry demo`: a race on embedded servers, with figures and a report."""
