"""Who is connected, what they are subscribed to, and how much they may take."""
