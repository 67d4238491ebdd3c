"""Of how many partitions a topic is: recorded in Redis, looked at, and changed."""
