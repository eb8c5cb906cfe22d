"""Peers by how far their clock is ahead: Home names those whose clock differs."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_index("ix_peers_clock_skew", "peers", ["clock_skew_seconds"])
