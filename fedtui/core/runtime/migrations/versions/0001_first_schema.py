"""Everything a node keeps: the first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)
JSON_ = sa.JSON().with_variant(JSONB(), "postgresql")
TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TEXT36 = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
URGENCY = (
    "(CASE WHEN status = 'degraded' THEN 0 "
    "WHEN drill_mode AND status = 'proposed' THEN 1 "
    "WHEN status IN ('active', 'enrolled') AND last_outbound_error IS NOT NULL THEN 2 "
    "WHEN status = 'accepted' AND peer_kind = 'platform' THEN 3 "
    "WHEN status = 'enrolled' THEN 4 "
    "WHEN status = 'proposed' THEN 5 "
    "WHEN status = 'suspended' THEN 6 "
    "WHEN status = 'revoked' THEN 8 "
    "ELSE 7 END)"
)


def upgrade() -> None:
    op.create_table(
        "acceptance_tokens",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("peer_id", TEXT, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("csr_key_fingerprint", sa.String(), nullable=True),
        sa.Column("answer", JSON_, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acceptance_tokens")),
    )
    op.create_index("ix_acceptance_tokens_peer_id_state", "acceptance_tokens", ["peer_id", "state"], unique=False)
    op.create_index("uq_acceptance_tokens_digest", "acceptance_tokens", ["digest"], unique=True)
    op.create_table(
        "approvals",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("params", JSON_, nullable=False),
        sa.Column("target", JSON_, nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("peer_id", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("requested_by", TEXT, nullable=False),
        sa.Column("requested_origin", sa.String(), nullable=False),
        sa.Column("requested_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decision_reason", sa.String(), nullable=True),
        sa.Column("executor", sa.String(), nullable=True),
        sa.Column("executing_since", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("result", JSON_, nullable=True),
        sa.Column("error", JSON_, nullable=True),
        sa.Column("correlation_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
    )
    op.create_index("ix_approvals_status_expires_at", "approvals", ["status", "expires_at"], unique=False)
    op.create_table(
        "certificates",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("serial", TEXT, nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("subject_kind", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("peer_id", TEXT, nullable=True),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("issuer_fingerprint", sa.String(), nullable=False),
        sa.Column("cert_pem", sa.String(), nullable=False),
        sa.Column("chain_pem", sa.String(), nullable=False),
        sa.Column("not_before", TIME, nullable=False),
        sa.Column("not_after", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("revocation_reason", sa.String(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_certificates_fingerprint")),
    )
    op.create_index(
        "ix_certificates_peer_id_direction", "certificates", ["peer_id", "direction", "not_after"], unique=False
    )
    op.create_index(op.f("ix_certificates_serial"), "certificates", ["serial"], unique=False)
    op.create_index(
        "ix_certificates_subject_kind_not_after", "certificates", ["subject_kind", "not_after"], unique=False
    )
    op.create_table(
        "credentials",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("peer_id", TEXT, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("csr_pem", sa.String(), nullable=False),
        sa.Column("key_fingerprint", sa.String(), nullable=False),
        sa.Column("certificate_id", sa.String(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
    )
    op.create_index("ix_credentials_peer_id_state", "credentials", ["peer_id", "state"], unique=False)
    op.create_table(
        "daemons",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("operations_url", sa.String(), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("listening_since", TIME, nullable=False),
        sa.Column("last_seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_daemons")),
    )
    op.create_table(
        "events",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("peer_id", TEXT, nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("uid", sa.Integer(), nullable=True),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("correlation_id", TEXT, nullable=False),
        sa.Column("payload", JSON_, nullable=False),
        sa.Column("emitted_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_kind_id", "events", ["kind", "id"], unique=False)
    op.create_index("ix_events_peer_id_id", "events", ["peer_id", "id"], unique=False)
    op.create_index("ix_events_source_id", "events", ["source", "id"], unique=False)
    op.create_table(
        "grants",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("peer_id", TEXT, nullable=False),
        sa.Column("remote_subject", sa.String(), nullable=False),
        sa.Column("resource_kind", TEXT, nullable=False),
        sa.Column("resource_id", sa.String(), nullable=True),
        sa.Column("permission_scopes", JSON_, nullable=False),
        sa.Column("node_instance_ids", JSON_, nullable=False),
        sa.Column("sdwan_network_ids", JSON_, nullable=False),
        sa.Column("source_cidrs", JSON_, nullable=False),
        sa.Column("issued_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_expires_at", "grants", ["expires_at", "id"], unique=False)
    op.create_index("ix_grants_peer_id_id", "grants", ["peer_id", "id"], unique=False)
    op.create_index(
        "uq_grants_operator",
        "grants",
        ["peer_id"],
        unique=True,
        sqlite_where=sa.text("resource_kind = 'managed_child_operator' AND revoked_at IS NULL"),
        postgresql_where=sa.text("resource_kind = 'managed_child_operator' AND revoked_at IS NULL"),
    )
    op.create_table(
        "job_runs",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("detail", JSON_, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_runs")),
    )
    op.create_index("ix_job_runs_job_started_at", "job_runs", ["job", "started_at"], unique=False)
    op.create_table(
        "leases",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "manager_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_manager_state")),
    )
    op.create_table(
        "node_identity",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node_identity")),
    )
    op.create_table(
        "node_settings",
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("set_at", TIME, nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_node_settings")),
    )
    op.create_table(
        "operators",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("permissions", JSON_, nullable=False),
        sa.Column("added_at", TIME, nullable=False),
        sa.Column("removed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_operators")),
    )
    op.create_table(
        "peers",
        sa.Column("id", TEXT36, nullable=False),
        sa.Column("remote_instance_url", TEXT, nullable=False),
        sa.Column("node_instance_id", TEXT, nullable=False),
        sa.Column("peer_kind", sa.String(), nullable=False),
        sa.Column("spawn_role", sa.String(), nullable=True),
        sa.Column("spawn_mode", sa.String(), nullable=True),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("remote_prefix_advertisement", sa.String(), nullable=True),
        sa.Column("endpoints", JSON_, nullable=False),
        sa.Column("confirmed_endpoints", JSON_, nullable=False),
        sa.Column("public_ca", sa.Boolean(), nullable=False),
        sa.Column("capabilities", JSON_, nullable=False),
        sa.Column("extension_slugs", JSON_, nullable=False),
        sa.Column("sync_cursor", JSON_, nullable=False),
        sa.Column("contract_version_agreed", sa.Integer(), nullable=True),
        sa.Column("platform_version", sa.String(), nullable=True),
        sa.Column("data_residency", sa.String(), nullable=True),
        sa.Column("operator_contact", sa.String(), nullable=True),
        sa.Column("drill_mode", sa.Boolean(), nullable=False),
        sa.Column("clock_skew_seconds", sa.Double(), nullable=True),
        sa.Column("enroll_owed", sa.Boolean(), nullable=False),
        sa.Column("signed_at", TIME, nullable=True),
        sa.Column("last_handshake_at", TIME, nullable=True),
        sa.Column("last_heartbeat_at", TIME, nullable=True),
        sa.Column("last_outbound_at", TIME, nullable=True),
        sa.Column("last_outbound_attempt_at", TIME, nullable=True),
        sa.Column("last_outbound_error", sa.String(), nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("maintenance_until", TIME, nullable=True),
        sa.Column("metadata", JSON_, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.CheckConstraint(
            "status != 'active' OR last_heartbeat_at IS NOT NULL", name=op.f("ck_peers_active_has_heartbeat")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_peers")),
    )
    op.create_index(
        "ix_peers_active_heartbeat",
        "peers",
        ["last_heartbeat_at"],
        unique=False,
        sqlite_where=sa.text("peer_kind = 'platform' AND status = 'active'"),
        postgresql_where=sa.text("peer_kind = 'platform' AND status = 'active'"),
    )
    op.create_index("ix_peers_created_at", "peers", ["created_at", "id"], unique=False)
    op.create_index("ix_peers_status_url", "peers", ["status", "remote_instance_url", "id"], unique=False)
    op.create_index("ix_peers_urgency", "peers", [sa.text(URGENCY), "remote_instance_url", "id"], unique=False)
    op.create_index("ix_peers_url_id", "peers", ["remote_instance_url", "id"], unique=False)
    op.create_index(
        "uq_peers_live_url",
        "peers",
        ["remote_instance_url"],
        unique=True,
        sqlite_where=sa.text("status != 'revoked'"),
        postgresql_where=sa.text("status != 'revoked'"),
    )
    op.create_table(
        "policies",
        sa.Column("action", TEXT, nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("set_at", TIME, nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("action", name=op.f("pk_policies")),
    )
    op.create_table(
        "sealed_values",
        sa.Column("owner_kind", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("owner_kind", "owner_id", "name", name=op.f("pk_sealed_values")),
    )
    op.create_table(
        "trust_anchors",
        sa.Column("peer_id", TEXT, nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("pem", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("not_after", TIME, nullable=False),
        sa.Column("added_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("peer_id", "fingerprint", name=op.f("pk_trust_anchors")),
    )
