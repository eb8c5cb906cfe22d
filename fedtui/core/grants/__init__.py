"""Who may use what: callers, and grants."""
