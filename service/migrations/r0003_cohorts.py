"""The cohort's report: its versions, and their objects among the deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the versions; a delivery may belong to one of them instead of to a case."""
    op.create_table(
        "cohorts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("folder", sa.String(255), nullable=False),
        sa.Column("cycles", sa.Integer, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
    )
    op.create_index("cohorts_by_version", "cohorts", ["version"])
    with op.batch_alter_table("deliveries") as deliveries:  # SQLite alters a table by copying it
        deliveries.alter_column("job_id", existing_type=sa.Integer, nullable=True)
        deliveries.add_column(sa.Column("cohort_id", sa.Integer))
        deliveries.create_foreign_key("cohort_of_delivery", "cohorts", ["cohort_id"], ["id"])
