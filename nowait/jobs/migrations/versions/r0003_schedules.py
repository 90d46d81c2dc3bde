"""The table of schedules."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """\
CREATE TABLE IF NOT EXISTS schedules (
    owner VARCHAR(100) NOT NULL DEFAULT '',
    name VARCHAR(100) NOT NULL,
    job VARCHAR(100) NOT NULL,
    queue VARCHAR(100) NOT NULL,
    parameters JSON NOT NULL,
    retry JSON NOT NULL,
    webhook VARCHAR(2048) CHARACTER SET ascii COLLATE ascii_bin NULL,
    cron VARCHAR(255) NULL,
    every DOUBLE NULL,
    timezone VARCHAR(64) NOT NULL DEFAULT 'UTC',
    enabled BOOLEAN NOT NULL,
    overlap ENUM('allow', 'skip') NOT NULL,
    catch_up ENUM('latest', 'none') NOT NULL,
    due DATETIME(6) NULL,
    last_tick DATETIME(6) NULL,
    last_job CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
    version INTEGER UNSIGNED NOT NULL DEFAULT 0,
    created DATETIME(6) NOT NULL,
    changed DATETIME(6) NOT NULL,
    PRIMARY KEY (owner, name),
    KEY due (due)
) ENGINE=InnoDB CHARSET=utf8mb4 COLLATE=utf8mb4_bin"""
    )
    # Fails where the database had a table of that name before.
    op.execute("SELECT owner, catch_up, last_job, due FROM schedules LIMIT 0")


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS schedules")
