"""Jobs that are ranked and leased, and indexes for a journal of a million studies."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

FEW = {
    "instances_unread": ("instances", "id", "state = 'new'"),
    "studies_unsettled": ("studies", "study_instance_uid", "instances <> settled_instances"),
    "deliveries_by_sent": ("deliveries", "sent_instance_uid", "sent_instance_uid IS NOT NULL"),
}
ALL = {
    "studies_by_state": ("studies", ["state"]),
    "jobs_by_rank": ("jobs", ["state", "ranks_at"]),
    "jobs_by_patient": ("jobs", ["patient_id"]),
    "jobs_by_fdg": ("jobs", ["fdg_study"]),
    "jobs_by_pentixafor": ("jobs", ["pentixafor_study"]),
    "deliveries_by_job": ("deliveries", ["job_id"]),
    "deliveries_by_object": ("deliveries", ["sop_instance_uid"]),
}


def upgrade() -> None:
    """What waits ranks by when it was entered; on PostgreSQL objects may be more than two thousand millions."""
    op.add_column("jobs", sa.Column("ranks_at", sa.Float, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("claimed_by", sa.String(64)))
    op.add_column("jobs", sa.Column("lease_until", sa.Float))
    op.execute("UPDATE jobs SET ranks_at = created_at")
    op.drop_index("jobs_by_state", "jobs")
    for name, (table, columns) in ALL.items():
        op.create_index(name, table, columns)
    for name, (table, column, condition) in FEW.items():
        where = sa.text(condition)
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE instances ALTER COLUMN id TYPE BIGINT")
        op.execute("ALTER SEQUENCE instances_id_seq AS BIGINT")
