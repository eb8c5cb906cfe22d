"""Peers from before names were kept from leading anywhere: what they use stays."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0015"


def upgrade() -> None:
    # True for every row that is there, false for every one that comes.
    op.add_column("peers", sa.Column("resolves_anywhere", sa.Boolean(), nullable=False, server_default=sa.true()))
