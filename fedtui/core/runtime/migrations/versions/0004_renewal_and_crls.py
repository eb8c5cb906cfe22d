"""Renewal: what is due, used, superseded or broken; what a peer asks to have signed; peers' CRLs."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TIME = sa.DateTime(timezone=True)
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
HURT = (
    "(CASE WHEN revoked_at IS NOT NULL OR superseded_at IS NOT NULL THEN 2 "
    "WHEN problem IS NOT NULL THEN 0 ELSE 1 END)"
)


def upgrade() -> None:
    with op.batch_alter_table("certificates") as table:
        for name in ("first_used_at", "superseded_at", "renew_at"):
            table.add_column(sa.Column(name, TIME, nullable=True))
        table.add_column(sa.Column("problem", sa.String(), nullable=True))
    op.create_index("ix_certificates_hurt", "certificates", [sa.text(HURT), "not_after", "id"])
    renewable = sa.text("renew_at IS NOT NULL AND superseded_at IS NULL")
    op.create_index("ix_certificates_renew_at", "certificates", ["renew_at"],
                    sqlite_where=renewable, postgresql_where=renewable)
    with op.batch_alter_table("credentials") as table:
        table.add_column(sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("next_attempt_at", TIME, nullable=True))
        table.add_column(sa.Column("last_error", sa.String(), nullable=True))
        table.add_column(sa.Column("alarm", sa.String(), nullable=True))
    with op.batch_alter_table("credentials") as table:
        table.alter_column("attempts", server_default=None)
    unsigned = sa.text("certificate_id IS NULL")
    op.create_index("ix_credentials_unsigned", "credentials", ["created_at", "id"],
                    sqlite_where=unsigned, postgresql_where=unsigned)
    with op.batch_alter_table("peers") as table:
        table.add_column(sa.Column("offered_csr_pem", sa.String(), nullable=True))
    op.create_table(
        "peer_crls",
        sa.Column("peer_id", TEXT, nullable=False),
        sa.Column("issuer_fingerprint", sa.String(), nullable=True),
        sa.Column("der", sa.LargeBinary(), nullable=True),
        sa.Column("this_update", TIME, nullable=True),
        sa.Column("next_update", TIME, nullable=True),
        sa.Column("revoked", sa.Integer(), nullable=False),
        sa.Column("covers", sa.Boolean(), nullable=False),
        sa.Column("fetched_at", TIME, nullable=True),
        sa.Column("tried_at", TIME, nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("peer_id", name=op.f("pk_peer_crls")),
    )
    _settle_what_is_there()


def _settle_what_is_there() -> None:
    """Certificates of before: what was replaced is over, what peers signed is due at 75 % of its lifetime."""
    connection = op.get_bind()
    certificates = sa.table(
        "certificates",
        sa.column("id"),
        sa.column("direction"),
        sa.column("not_before", TIME),
        sa.column("not_after", TIME),
        sa.column("renew_at", TIME),
    )
    op.execute(
        "UPDATE certificates SET superseded_at = created_at "
        "WHERE id IN (SELECT certificate_id FROM credentials WHERE state = 'retired')"
    )
    op.execute(
        "UPDATE certificates SET superseded_at = created_at WHERE subject_kind = 'server' "
        "AND id < (SELECT max(id) FROM certificates WHERE subject_kind = 'server')"
    )
    outbound = sa.select(certificates).where(certificates.c.direction == "outbound")
    for row in connection.execute(outbound).all():
        start, end = _utc(row.not_before), _utc(row.not_after)
        due = start + (end - start) * 0.75
        naive = connection.dialect.name == "sqlite"
        connection.execute(
            sa.update(certificates)
            .where(certificates.c.id == row.id)
            .values(renew_at=due.replace(tzinfo=None) if naive else due)
        )


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
