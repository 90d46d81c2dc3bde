"""The trace that a job belongs to."""

from alembic import context, op
from sqlalchemy import inspect

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # MySQL adds no column "if it does not exist".
    if not context.is_offline_mode() and _is_done():
        return
    op.execute("ALTER TABLE jobs ADD COLUMN traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_bin NULL")


def _is_done() -> bool:
    return any(column["name"] == "traceparent" for column in inspect(op.get_bind()).get_columns("jobs"))


def downgrade() -> None:
    op.execute("ALTER TABLE jobs DROP COLUMN traceparent")
