"""What went through while a policy was lowered, and who else has confirmed it."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0013"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    for column in (
        sa.Column("acts", sa.Integer(), nullable=True),
        sa.Column("confirmed_at", TIME, nullable=True),
        sa.Column("confirmed_by", sa.String(), nullable=True),
    ):
        op.add_column("policy_lowerings", column)
