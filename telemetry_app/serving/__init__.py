"""Ports: which connections they keep, the descriptors that these may take, and how the origins of pages are written."""
