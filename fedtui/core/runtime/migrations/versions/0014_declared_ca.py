"""The CA that a peer says in its heartbeats it is to be known by."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    with op.batch_alter_table("peers") as table:
        table.add_column(sa.Column("declared_ca", sa.String(), nullable=True))
