"""Read by alembic: the connection that `nowait.jobs.migrations` has, or none, where statements are only printed."""

from alembic import context

from nowait.jobs.schema import VERSIONS

if context.is_offline_mode():
    context.configure(dialect_name="mysql", version_table=VERSIONS)
else:
    context.configure(connection=context.config.attributes["connection"], version_table=VERSIONS)
with context.begin_transaction():
    context.run_migrations()
