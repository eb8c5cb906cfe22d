"""Secrets, certificates and TLS."""
