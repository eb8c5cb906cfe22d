"""Remote platforms: their records, the tokens that admit them, and their heartbeats."""
