"""Lists and details of records: the two screens, and what a kind of record declares."""
