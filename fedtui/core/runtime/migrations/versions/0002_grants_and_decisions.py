"""Grants in full, network bridges, inventory, resources, decisions, usage."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)
JSON_ = sa.JSON().with_variant(JSONB(), "postgresql")
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TEXT36 = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
A_YEAR = 365 * 86_400


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("call", sa.String(), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("code", TEXT, nullable=True),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answered", sa.String(), nullable=True),
        sa.Column("peer_id", TEXT, nullable=True),
        sa.Column("grant_id", TEXT, nullable=True),
        sa.Column("context", JSON_, nullable=False),
        sa.Column("checks", JSON_, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index("ix_decisions_peer_id_id", "decisions", ["peer_id", "id"])
    op.create_index("ix_decisions_grant_id_id", "decisions", ["grant_id", "id"])
    op.create_index("ix_decisions_allowed_id", "decisions", ["allowed", "id"])
    op.create_table(
        "grant_usage",
        sa.Column("grant_id", TEXT, nullable=False),
        sa.Column("day", TEXT, nullable=False),
        sa.Column("way", TEXT, nullable=False),
        sa.Column("method", sa.String(), nullable=True),
        sa.Column("instance_id", sa.String(), nullable=True),
        sa.Column("network_id", sa.String(), nullable=True),
        sa.Column("source_ip", sa.String(), nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("grant_id", "day", "way", name=op.f("pk_grant_usage")),
    )
    op.create_index("ix_grant_usage_day", "grant_usage", ["day"])
    op.create_table(
        "inventory",
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("added_at", TIME, nullable=False),
        sa.Column("added_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_inventory")),
    )
    op.create_table(
        "network_bridges",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("peer_id", TEXT, nullable=False),
        sa.Column("network_id", TEXT, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network_bridges")),
    )
    live = sa.text("status != 'revoked'")
    op.create_index("uq_network_bridges_live", "network_bridges", ["peer_id", "network_id"], unique=True,
                    sqlite_where=live, postgresql_where=live)
    op.create_table(
        "resources",
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("document", JSON_, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name=op.f("pk_resources")),
    )
    _extend_grants()


def _extend_grants() -> None:
    # The only grants there can be were issued for a year; their default goes again with the rebuild.
    with op.batch_alter_table("grants") as table:
        table.add_column(sa.Column("issued_by", sa.String(), nullable=True))
        table.add_column(sa.Column("ttl_seconds", sa.Integer(), nullable=False, server_default=str(A_YEAR)))
        table.add_column(sa.Column("renew_at", TIME, nullable=True))
        table.add_column(sa.Column("renewed_at", TIME, nullable=True))
        table.add_column(sa.Column("revocation_reason", sa.String(), nullable=True))
        table.add_column(sa.Column("archived_at", TIME, nullable=True))
        table.alter_column("remote_subject", type_=TEXT)
    with op.batch_alter_table("grants") as table:
        table.alter_column("ttl_seconds", server_default=None)
    op.drop_index("ix_grants_expires_at", "grants")
    ended = "(CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END)"
    op.create_index("ix_grants_urgency", "grants", [sa.text(ended), "expires_at", "id"])
    op.create_index("ix_grants_subject", "grants", ["remote_subject", "id"])
    op.create_index("ix_grants_kind", "grants", ["resource_kind", "id"])
    for name, column, where in (
        ("ix_grants_renew_at", "renew_at", "renew_at IS NOT NULL"),
        ("ix_grants_revoked_at", "revoked_at", "revoked_at IS NOT NULL AND archived_at IS NULL"),
    ):
        op.create_index(name, "grants", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
