"""Governance: findings and the report."""
