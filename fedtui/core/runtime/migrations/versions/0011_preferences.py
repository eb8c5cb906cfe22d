"""What operators prefer to see."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"

TIME = sa.DateTime(timezone=True)
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
JSON_ = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "preferences",
        sa.Column("operator", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", JSON_, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("operator", "key", name=op.f("pk_preferences")),
    )
