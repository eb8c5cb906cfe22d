"""What a node runs on: settings, time, database, units of work, lease, schedule."""
