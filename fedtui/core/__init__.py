"""The federation node's rules and records, independent of every user interface."""
