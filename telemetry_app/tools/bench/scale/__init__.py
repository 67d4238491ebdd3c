"""What more workers bring and cost, and what it costs to distribute one stream."""
