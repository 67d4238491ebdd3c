"""Real servers and workers as child processes that never outlive their parent."""
