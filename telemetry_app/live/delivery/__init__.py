"""From a batch to the subscribers, and from a request to its answer."""
