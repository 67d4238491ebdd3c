"""The durable side: device states, rows, and their way into the database."""
