"""One partition: entries in, acknowledgements out."""
