"""Storage commitment: what was asked of destinations and of this node, and as what an object was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the requests of both directions; what was delivered before counts as stored then, without a commitment."""
    for name in ("stored_at", "ask_at"):
        op.add_column("deliveries", sa.Column(name, sa.Float))
    for name in ("asks", "refusals"):
        op.add_column("deliveries", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    for name in ("sent_class_uid", "sent_instance_uid"):
        op.add_column("deliveries", sa.Column(name, sa.String(64)))
    op.execute("UPDATE deliveries SET stored_at = delivered_at")
    op.create_table(
        "commitments",
        sa.Column("transaction_uid", sa.String(64), primary_key=True),
        sa.Column("destination", sa.String(64), nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("answered_at", sa.Float),
    )
    op.create_table(
        "promises",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("transaction_uid", sa.String(64), nullable=False),
        sa.Column("calling_ae", sa.String(16), nullable=False),
        sa.Column("objects", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("next_try_at", sa.Float, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Float, nullable=False),
        sa.Column("answered_at", sa.Float),
    )
    op.create_index("promises_by_state", "promises", ["state"])
