"""Seals over events, and what filters of events need."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TIME = sa.DateTime(timezone=True)
GRAVE = sa.text("severity IN ('high', 'critical')")


def upgrade() -> None:
    op.create_table(
        "event_seals",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("entries", sa.LargeBinary(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("sealed_at", TIME, nullable=False),
        sa.Column("has_critical", sa.Boolean(), nullable=False),
        sa.Column("removed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_event_seals")),
    )
    op.add_column("events", sa.Column("seal", sa.BigInteger(), nullable=True))
    op.create_index("ix_events_correlation_id_id", "events", ["correlation_id", "id"])
    op.create_index("ix_events_emitted_at_id", "events", ["emitted_at", "id"])
    op.create_index("ix_events_seal_id", "events", ["seal", "id"])
    op.create_index("ix_events_grave", "events", ["id"], sqlite_where=GRAVE, postgresql_where=GRAVE)
