"""What a job has to do with schedules and webhooks, and what its attempts were."""

from alembic import context, op
from sqlalchemy import inspect

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # MySQL adds no column "if it does not exist".
    if not context.is_offline_mode() and _is_done():
        return
    op.execute(
        """\
ALTER TABLE jobs
    ADD COLUMN schedule VARCHAR(100) NULL,
    ADD COLUMN tick DATETIME(6) NULL,
    ADD COLUMN webhook VARCHAR(2048) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN reopened INTEGER UNSIGNED NOT NULL DEFAULT 0,
    ADD COLUMN forgiven INTEGER UNSIGNED NOT NULL DEFAULT 0,
    ADD COLUMN history JSON NULL,
    ADD UNIQUE KEY tick (owner, schedule, tick),
    ADD KEY schedule (owner, schedule)"""
    )


def _is_done() -> bool:
    return any(column["name"] == "history" for column in inspect(op.get_bind()).get_columns("jobs"))


def downgrade() -> None:
    op.execute(
        """\
ALTER TABLE jobs
    DROP KEY tick,
    DROP KEY schedule,
    DROP COLUMN schedule,
    DROP COLUMN tick,
    DROP COLUMN webhook,
    DROP COLUMN reopened,
    DROP COLUMN forgiven,
    DROP COLUMN history"""
    )
