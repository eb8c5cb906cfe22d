"""Terms of peerings end them from now on; those that were agreed before do so in thirty days at the earliest."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

TIME = sa.DateTime(timezone=True)
GRACE = timedelta(days=30)


def upgrade() -> None:
    op.add_column("peers", sa.Column("term_grace_until", TIME, nullable=True))
    # As `Time` keeps it: UTC, which SQLite has without an offset.
    until = datetime.now(UTC) + GRACE
    naive = op.get_bind().dialect.name == "sqlite"
    peers = sa.table("peers", sa.column("expires_at", TIME), sa.column("term_grace_until", TIME))
    op.execute(
        peers.update()
        .where(peers.c.expires_at.is_not(None))
        .values(term_grace_until=until.replace(tzinfo=None) if naive else until)
    )
