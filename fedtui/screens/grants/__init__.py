"""Grants: list, detail, actions, and why a call is denied."""
