"""Events: the audit record as it grows."""
