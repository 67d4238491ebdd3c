"""What goes over the WebSocket: requests, answers, frames, cursors."""
