"""What stands of the findings in the order in which it is shown."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

STANDS = sa.text("gone_at IS NULL")


def upgrade() -> None:
    op.drop_index("ix_governance_findings_standing", table_name="governance_findings")
    op.create_index(
        "ix_governance_findings_standing",
        "governance_findings",
        ["rank", "kind", "id"],
        sqlite_where=STANDS,
        postgresql_where=STANDS,
    )
