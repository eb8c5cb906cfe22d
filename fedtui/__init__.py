"""fedtui: a federation node with a terminal console."""

__version__ = "0.1.0"
