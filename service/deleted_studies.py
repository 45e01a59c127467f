"""What intake says where the images of a patient's study were deleted by [retention]."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from service.casebook import JobRow, Ruling, StudyRow
from service.retention_marks import Deleted, days_between
from service.tables import StudyState


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A study of which every image was deleted."""

    row: StudyRow
    deleted: Deleted


def as_it_was(row: StudyRow) -> Ruling:
    """An absent study: what was said of it then still holds."""
    return Ruling(
        study_instance_uid=row.study_instance_uid,
        instances=0,
        state=row.state,
        reason=row.reason,
        sentence=row.sentence,
        tracer=row.tracer,
        evidence=row.evidence,
    )


def widowed(absent: Sequence[Absent], finished: Iterable[JobRow]) -> dict[str, str]:
    """By study: that its finished case's other half is absent. Alone it would be paired with what is farther away."""
    gone = {each.row.study_instance_uid: each.deleted for each in absent}
    ties = [(job.fdg_study, job.pentixafor_study) for job in finished]
    return {
        one: f"It has a finished case. Of that one's other study: {gone[other].sentence} Then both are judged anew."
        for tie in ties
        for one, other in (tie, tie[::-1])
        if other in gone
    }


def with_partner(given: Ruling, absent: Sequence[Absent], study_date: str, max_days: int) -> Ruling:
    """Of a study that waits for a partner: that one was here, and that its images were deleted."""
    if given.state is not StudyState.WAITING or given.reason:
        return given
    told = [
        f"The {each.row.tracer} study of {each.row.study_date} was here: {each.deleted.sentence}"
        for each in absent
        if each.row.tracer not in ("", given.tracer) and days_between(study_date, each.row.study_date) <= max_days
    ]
    return replace(given, sentence=" ".join((given.sentence, *told)))
