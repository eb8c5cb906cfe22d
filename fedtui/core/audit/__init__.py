"""What happened: events, and telling other processes that something changed."""
