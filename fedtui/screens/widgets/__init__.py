"""Shared parts of the screens: drawing, the windowed table, cleaning of foreign text."""
