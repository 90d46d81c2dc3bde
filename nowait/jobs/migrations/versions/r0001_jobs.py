"""The table of jobs."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """\
CREATE TABLE IF NOT EXISTS jobs (
    id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    owner VARCHAR(100) NOT NULL DEFAULT '',
    name VARCHAR(100) NOT NULL,
    queue VARCHAR(100) NOT NULL,
    parameters JSON NOT NULL,
    retry JSON NOT NULL,
    state ENUM('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired') NOT NULL,
    due DATETIME(6) NOT NULL,
    attempt INTEGER UNSIGNED NOT NULL DEFAULT 0,
    failures INTEGER UNSIGNED NOT NULL DEFAULT 0,
    version INTEGER UNSIGNED NOT NULL DEFAULT 0,
    progress JSON NULL,
    result LONGTEXT NULL,
    error JSON NULL,
    worker VARCHAR(255) NULL,
    created DATETIME(6) NOT NULL,
    eta DATETIME(6) NULL,
    expires DATETIME(6) NULL,
    started DATETIME(6) NULL,
    finished DATETIME(6) NULL,
    idempotency_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
    fingerprint BINARY(32) NULL,
    PRIMARY KEY (id),
    UNIQUE KEY idempotency (owner, idempotency_key),
    KEY due (due),
    KEY state (state, id)
) ENGINE=InnoDB CHARSET=utf8mb4 COLLATE=utf8mb4_bin"""
    )
    # Fails where the database had a table of that name before.
    op.execute("SELECT owner, due, attempt, idempotency_key, fingerprint FROM jobs LIMIT 0")


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS jobs")
