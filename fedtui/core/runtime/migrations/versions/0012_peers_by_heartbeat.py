"""Peers in the order of their last heartbeat, those that never sent one first."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

NEVER = {"sqlite": "'1970-01-01 00:00:00.000000'", "postgresql": "TIMESTAMPTZ '1970-01-01 00:00:00+00'"}


def upgrade() -> None:
    never = NEVER[op.get_bind().dialect.name]
    op.create_index("ix_peers_heartbeat", "peers", [sa.text(f"coalesce(last_heartbeat_at, {never})"), "id"])
