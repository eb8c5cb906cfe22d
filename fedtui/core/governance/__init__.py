"""What is drifting, and what is asked of the federation's owner."""
