"""Many devices on the live map: a server that sends them, and what they cost the browser."""
