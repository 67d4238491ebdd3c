"""Made-up trackers, their records and their race."""
