"""Ports: which connections they keep, the descriptors that these may take, clients' addresses, and origins of pages."""
