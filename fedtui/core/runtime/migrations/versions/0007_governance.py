"""Findings and when they were looked for; what became of change requests, and what stood on record."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"

TIME = sa.DateTime(timezone=True)
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TEXT36 = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
JSON_ = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "governance_findings",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("peer_id", TEXT, nullable=True),
        sa.Column("said", sa.String(), nullable=False),
        sa.Column("detail", JSON_, nullable=False),
        sa.Column("mark", sa.String(), nullable=False),
        sa.Column("first_seen", TIME, nullable=False),
        sa.Column("last_seen", TIME, nullable=False),
        sa.Column("absent_since", TIME, nullable=True),
        sa.Column("gone_at", TIME, nullable=True),
        sa.Column("reopened", sa.Integer(), nullable=False),
        sa.Column("acknowledged_by", sa.String(), nullable=True),
        sa.Column("acknowledged_at", TIME, nullable=True),
        sa.Column("acknowledged_until", TIME, nullable=True),
        sa.Column("acknowledgement", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_governance_findings")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_governance_findings_kind_subject")),
    )
    op.create_index("ix_governance_findings_peer_id", "governance_findings", ["peer_id", "id"])
    standing = sa.text("gone_at IS NULL")
    op.create_index("ix_governance_findings_standing", "governance_findings", ["rank", "id"],
                    sqlite_where=standing, postgresql_where=standing)
    op.create_table(
        "governance_scans",
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("scanned_at", TIME, nullable=False),
        sa.Column("told_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_governance_scans")),
    )
    op.add_column("change_requests", sa.Column("evidence", JSON_, nullable=True))
    op.add_column("change_requests", sa.Column("settled_by", sa.String(), nullable=True))
    op.add_column("change_requests", sa.Column("settled_at", TIME, nullable=True))
    op.add_column("change_requests", sa.Column("settlement", sa.String(), nullable=True))
