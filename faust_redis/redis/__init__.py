"""Talking to Redis: clients, replies, scripts, keys, errors."""
