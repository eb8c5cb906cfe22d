"""Certificates as an operator handles them: listing, operations, reissue."""
