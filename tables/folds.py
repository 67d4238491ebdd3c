"""The computations that see every position, each with its table."""

from typing import Final

from tables.device_state import device_state
from telemetry_app.core import device_state as device_states
from telemetry_app.core.fold import Fold

FOLDS: Final = (Fold(device_state, device_states.fold),)
