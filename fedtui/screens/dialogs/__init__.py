"""Dialogs: asking, telling what went wrong, showing a secret once, waiting."""
