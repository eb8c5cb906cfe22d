"""Documents as text, so that no database spells them anew; what was kept and is no JSON becomes null."""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE resources ALTER COLUMN document TYPE TEXT USING document::text")
        op.execute("UPDATE resources SET size = octet_length(document)")
        return
    with op.batch_alter_table("resources") as table:
        table.alter_column("document", type_=sa.Text(), existing_type=sa.JSON(), existing_nullable=False)
    _mend(op.get_bind())


def _mend(connection: sa.Connection) -> None:
    """Numbers beyond a double were kept as `Infinity`, which no reader of JSON takes."""
    table = sa.table("resources", *(sa.column(name) for name in ("kind", "id", "document", "digest", "size")))
    spelled = sa.or_(table.c.document.contains("Infinity"), table.c.document.contains("NaN"))
    for row in connection.execute(sa.select(table).where(spelled)).all():
        value = json.loads(row.document, parse_constant=lambda _: None)
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if text == row.document:
            continue
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        connection.execute(
            sa.update(table)
            .where(table.c.kind == row.kind, table.c.id == row.id)
            .values(document=text, digest=digest, size=len(text.encode()))
        )
