"""Faults for practice: real ones, put into real nodes that the demo made, and into no other."""
