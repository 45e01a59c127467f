"""Received files that [retention] has deleted: their rows stay."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add when an object's file was deleted; of earlier objects none was."""
    op.add_column("instances", sa.Column("deleted_at", sa.Float))
