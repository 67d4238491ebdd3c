"""Faust's face: what Faust finds by URL and by setting, and what it calls."""
