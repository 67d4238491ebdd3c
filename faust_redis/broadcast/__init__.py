"""Every record in every process: reading a stream by a group of one's own, and reading it again."""
