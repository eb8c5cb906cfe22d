"""Home: what needs attention, and what waits for the operator."""
