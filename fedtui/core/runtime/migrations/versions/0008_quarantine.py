"""The quarantine of a node that was restored."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("begun_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("known_until", TIME, nullable=True),
        sa.Column("tokens_cancelled", sa.Integer(), nullable=False),
        sa.Column("requests_ended", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
    )
