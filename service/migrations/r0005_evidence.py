"""Completeness by evidence: what archives count of a study, and why a study was taken as whole."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Studies that were judged before rest on silence; nothing of them is asked for again."""
    op.add_column("studies", sa.Column("checked_instances", sa.Integer, nullable=False, server_default="0"))
    op.add_column("studies", sa.Column("evidence", sa.Text, nullable=False, server_default=""))
    op.create_index("studies_by_association", "studies", ["last_association_id"])
    op.create_table(
        "tallies",
        sa.Column("study_instance_uid", sa.String(64), primary_key=True),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("next_ask_at", sa.Float),
        sa.Column("asks", sa.Integer, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
    )
    op.create_index("tallies_by_next_ask", "tallies", ["next_ask_at"])
