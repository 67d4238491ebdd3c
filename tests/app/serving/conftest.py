"""Workers whose ports crowds come to."""

from tests.app.live.conftest import directus, real_directus, stand_in
from tests.worker.conftest import pipeline, spectators, start_worker

__all__ = ["directus", "pipeline", "real_directus", "spectators", "stand_in", "start_worker"]
