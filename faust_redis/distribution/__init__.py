"""From one stream to the partitions of a topic: every entry once, those of a key in order."""
