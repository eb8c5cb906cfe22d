"""Approvals: the queue, and deciding a request."""
