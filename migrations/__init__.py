"""The schema of the database, one SQL file for each step, numbered."""
