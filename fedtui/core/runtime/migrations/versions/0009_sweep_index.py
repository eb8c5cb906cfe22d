"""The index of the idle sweep, in a form that SQLite's planner takes without statistics."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

ACTIVE = sa.text("peer_kind = 'platform' AND status = 'active'")


def upgrade() -> None:
    op.drop_index("ix_peers_active_heartbeat", table_name="peers")
    op.create_index(
        "ix_peers_active_heartbeat",
        "peers",
        ["status", "last_heartbeat_at"],
        sqlite_where=ACTIVE,
        postgresql_where=ACTIVE,
    )
