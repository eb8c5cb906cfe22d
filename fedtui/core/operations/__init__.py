"""Everything an operator or the manager can do, as a table."""
