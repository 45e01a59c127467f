"""Which door process serves an association."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Earlier associations were served by the node itself."""
    op.add_column("associations", sa.Column("door", sa.String(32)))
