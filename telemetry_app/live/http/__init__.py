"""The WebSocket and the map's pages."""
