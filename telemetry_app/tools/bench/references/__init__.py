"""Servers that workers are compared with: the shortest way, and the loop one would write first."""
