"""Peers: list, detail, actions."""
