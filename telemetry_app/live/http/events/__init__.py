"""What of an event may be read by plain HTTP."""
