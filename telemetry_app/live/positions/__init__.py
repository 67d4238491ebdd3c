"""What is known of devices: their events, their newest positions, the last seconds."""
