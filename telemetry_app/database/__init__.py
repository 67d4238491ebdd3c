"""PostgreSQL: connections, what its errors mean, and migrations."""
