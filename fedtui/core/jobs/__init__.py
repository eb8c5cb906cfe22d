"""The manager's jobs: their tasks, notifications, and what follows a restore."""
