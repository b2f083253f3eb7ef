"""How Alembic runs the migrations: on the connection that `flows.ledger.migrate` hands over."""

from __future__ import annotations

from alembic import context

from flows.ledger.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("run `slidemill config migrate`; Alembic alone does not know the ledger's address")
context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
context.run_migrations()
