"""Alembic's entry point: it runs on the connection, and in the transaction, it is handed."""

from alembic import context

from fedtui.core.runtime.database import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
