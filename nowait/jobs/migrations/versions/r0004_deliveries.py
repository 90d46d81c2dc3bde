"""The table of deliveries."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """\
CREATE TABLE IF NOT EXISTS deliveries (
    job_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    state ENUM('pending', 'delivered', 'failed') NOT NULL,
    due DATETIME(6) NULL,
    attempt INTEGER UNSIGNED NOT NULL DEFAULT 0,
    attempted DATETIME(6) NULL,
    failures INTEGER UNSIGNED NOT NULL DEFAULT 0,
    outcome VARCHAR(100) NULL,
    PRIMARY KEY (job_id),
    KEY due (due)
) ENGINE=InnoDB CHARSET=utf8mb4 COLLATE=utf8mb4_bin"""
    )
    # Fails where the database had a table of that name before.
    op.execute("SELECT job_id, due, attempted, failures, outcome FROM deliveries LIMIT 0")


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS deliveries")
