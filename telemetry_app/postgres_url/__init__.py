"""What is meant by a connection string, as people and clouds write them."""
