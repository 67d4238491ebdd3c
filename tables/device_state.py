"""The table of device states: last position and number of positions of each device."""

from telemetry_app.app import app, settings
from telemetry_app.core.device_state import TABLE, DeviceState

device_state = app.Table(
    TABLE,
    value_type=DeviceState,
    options={"max_keys": settings.device_state_lru_cap, "recency": lambda state: state.touched},
    help="Last position and number of positions of each device.",
)
