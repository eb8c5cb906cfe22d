"""Documents with their digest, their size, and on whose account they go."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    for column in (
        sa.Column("digest", sa.String(), nullable=False, server_default=""),
        sa.Column("size", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("peer_id", TEXT, nullable=True),
        sa.Column("grant_id", TEXT, nullable=True),
    ):
        op.add_column("resources", column)
    _fill(op.get_bind())
    op.create_index("ix_resources_peer_id_size", "resources", ["peer_id", "size"])
    op.create_index("ix_resources_grant_id_size", "resources", ["grant_id", "size"])


def _fill(connection: sa.Connection) -> None:
    """Each document's digest as its tag had it, and its size. Whose it is, the record of the writer says: a peer."""
    table = sa.table("resources", *(sa.column(name) for name in ("kind", "id", "digest", "size", "updated_by", "peer_id")))
    text = sa.cast(sa.column("document"), sa.Text)
    rows = connection.execute(sa.select(table.c.kind, table.c.id, table.c.updated_by, text.label("text")).select_from(table))
    for row in rows.all():
        value = json.loads(row.text)
        digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
        kind, _, peer_id = row.updated_by.partition(":")
        connection.execute(
            sa.update(table)
            .where(table.c.kind == row.kind, table.c.id == row.id)
            .values(digest=digest, size=len(row.text.encode()), peer_id=peer_id if kind == "peer" else None)
        )
