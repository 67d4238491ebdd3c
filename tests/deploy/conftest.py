"""Workers, and the tools that look at what they are deployed with."""

from tests.app.live.conftest import directus, real_directus, stand_in
from tests.worker.conftest import pipeline, spectators, start_both, start_worker

__all__ = ["directus", "pipeline", "real_directus", "spectators", "stand_in", "start_both", "start_worker"]
