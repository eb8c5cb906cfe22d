"""Incidents and their transcripts; change requests."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"

TIME = sa.DateTime(timezone=True)
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TEXT36 = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
JSON_ = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("symptom", sa.String(), nullable=True),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("about", JSON_, nullable=False),
        sa.Column("peer_id", TEXT, nullable=True),
        sa.Column("causes", JSON_, nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("opened_by", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("diagnosed_at", TIME, nullable=True),
        sa.Column("fixed_at", TIME, nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("correlation_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    op.create_index("ix_incidents_closed_at_id", "incidents", ["closed_at", "id"])
    op.create_table(
        "incident_entries",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("incident_id", TEXT, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("content", JSON_, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_entries")),
    )
    op.create_index("ix_incident_entries_incident_id_id", "incident_entries", ["incident_id", "id"])
    op.create_table(
        "change_requests",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("incident_id", TEXT, nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_requests")),
    )
