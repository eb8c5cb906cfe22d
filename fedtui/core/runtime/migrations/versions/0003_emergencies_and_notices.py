"""Lowered policies, recoveries, notices; when people were told that a request is about to expire."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TEXT36 = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("approvals") as table:
        table.add_column(sa.Column("warned_at", TIME, nullable=True))
    op.create_table(
        "policy_lowerings",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("lowered_by", sa.String(), nullable=False),
        sa.Column("lowered_at", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("restored_at", TIME, nullable=True),
        sa.Column("restored_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_lowerings")),
    )
    op.create_index("ix_policy_lowerings_action_id", "policy_lowerings", ["action", "id"])
    op.create_table(
        "recoveries",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("uid", sa.Integer(), nullable=True),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("recovered_at", TIME, nullable=False),
        sa.Column("acknowledged_at", TIME, nullable=True),
        sa.Column("acknowledged_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recoveries")),
    )
    op.create_table(
        "notices",
        sa.Column("event_id", TEXT36, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_notices")),
    )
    waiting = sa.text("outcome = 'waiting'")
    op.create_index("ix_notices_due_at", "notices", ["due_at"], sqlite_where=waiting, postgresql_where=waiting)
