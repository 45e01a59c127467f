"""Which FDG study goes with which PentixaFor study."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from analysis.errors import BadSettings, IdentityConflict, NotAPair
from analysis.values import Tracer
from dicom_io.headers import conflict_sentence, differences, same_patient_id
from dicom_io.studies import DualTracerPair, TracerStudy

MOST_DAYS = 3650  # a date so far away is still a date


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingSettings:
    """max_days: calendar days between the two studies at most; the method's paper has 30."""

    max_days: int = 30

    def __post_init__(self) -> None:
        if not 0 <= self.max_days <= MOST_DAYS:
            raise BadSettings(f"pairing: max_days is {self.max_days}; it must be 0 to {MOST_DAYS}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The pairs by date, and each study that has no partner with a sentence on what it waits for."""

    pairs: tuple[DualTracerPair, ...]
    waiting: tuple[tuple[TracerStudy, str], ...]


DEFAULT = PairingSettings()


def pair(studies: Sequence[TracerStudy], settings: PairingSettings = DEFAULT) -> Pairing:
    """Pairs of one patient at most max_days apart; the nearest in time first, each study in one pair at most.

    The same study given twice counts once. Raises IdentityConflict: one PatientID, two people; ask patient by patient to
    hold back no one else.
    """
    distinct = list({study.study.study_instance_uid: study for study in studies}.values())
    for one, other in itertools.combinations(distinct, 2):
        _require_one_person(one, other)
    used: set[str] = set()
    pairs: list[DualTracerPair] = []
    for candidate in sorted(_candidates(distinct, settings), key=_nearness):
        uids = {candidate.fdg.study.study_instance_uid, candidate.pentixafor.study.study_instance_uid}
        if not uids & used:
            used |= uids
            pairs.append(candidate)
    left = [study for study in distinct if study.study.study_instance_uid not in used]
    return Pairing(
        pairs=tuple(sorted(pairs, key=lambda p: (p.fdg.study.started, p.uid))),
        waiting=tuple((study, _waits_for(study, distinct, settings)) for study in left),
    )


def one_pair(
    fdg_studies: Sequence[TracerStudy], pentixafor_studies: Sequence[TracerStudy], settings: PairingSettings = DEFAULT
) -> DualTracerPair:
    """The nearest pair of an FDG study of the first and a PentixaFor study of the second collection.

    Raises NotAPair: a tracer is missing, the patients differ, or too many days lie between. Raises IdentityConflict: one
    PatientID, two people.
    """
    _require_tracers(fdg_studies, pentixafor_studies)
    fdg = [s for s in fdg_studies if s.tracer is Tracer.FDG]
    pentixafor = [s for s in pentixafor_studies if s.tracer is Tracer.PENTIXAFOR]
    same = [DualTracerPair(fdg=f, pentixafor=p) for f in fdg for p in pentixafor if _same_id(f, p)]
    if not same:
        raise NotAPair(
            "The FDG and the PentixaFor study bear different PatientIDs (or none); only studies of one patient are compared."
        )
    for candidate in same:
        _require_one_person(candidate.fdg, candidate.pentixafor)
    nearest = min(same, key=_nearness)
    if nearest.gap_days > settings.max_days:
        raise NotAPair(
            f"The FDG and the PentixaFor study are {nearest.gap_days} days apart, at most {settings.max_days} are allowed "
            "(pairing.max_days)."
        )
    return nearest


def _require_tracers(fdg_studies: Sequence[TracerStudy], pentixafor_studies: Sequence[TracerStudy]) -> None:
    first, second = {s.tracer for s in fdg_studies}, {s.tracer for s in pentixafor_studies}
    if Tracer.FDG in first and Tracer.PENTIXAFOR in second:
        return
    if Tracer.PENTIXAFOR in first and Tracer.FDG in second:
        raise NotAPair("The two folders are exchanged: the first holds the PentixaFor study and the second the FDG study.")
    place, tracer = ("first", Tracer.FDG) if Tracer.FDG not in first else ("second", Tracer.PENTIXAFOR)
    raise NotAPair(f"The {place} folder holds no {tracer} study.")


def _require_one_person(one: TracerStudy, other: TracerStudy) -> None:
    if _same_id(one, other) and (differing := differences(one.study.patient, other.study.patient)):
        raise IdentityConflict(conflict_sentence(differing, one.study, other.study))


def _same_id(one: TracerStudy, other: TracerStudy) -> bool:
    return same_patient_id(one.study.patient, other.study.patient)


def _candidates(studies: Sequence[TracerStudy], settings: PairingSettings) -> list[DualTracerPair]:
    by_patient: dict[str, list[TracerStudy]] = {}
    for study in studies:
        by_patient.setdefault(study.study.patient.patient_id, []).append(study)
    found = [
        DualTracerPair(fdg=f, pentixafor=p)
        for group in by_patient.values()
        for f in group
        for p in group
        if f.tracer is Tracer.FDG and p.tracer is Tracer.PENTIXAFOR and _same_id(f, p)
    ]
    return [candidate for candidate in found if candidate.gap_days <= settings.max_days]


def _nearness(candidate: DualTracerPair) -> tuple[timedelta, str, str]:
    return candidate.gap, candidate.fdg.study.study_instance_uid, candidate.pentixafor.study.study_instance_uid


def _waits_for(study: TracerStudy, studies: Sequence[TracerStudy], settings: PairingSettings) -> str:
    """One sentence on why a study has no partner, and what would give it one."""
    tracer = study.tracer.other
    if not study.study.patient.patient_id:
        return f"The study has no PatientID, so no {tracer} study can be found for it; correct the header at its source."
    partners = [s for s in studies if s.tracer is tracer and _same_id(s, study)]
    day, span = study.study.started.date(), timedelta(days=settings.max_days)
    wanted = f"a {tracer} study of the same patient between {day - span} and {day + span} ({settings.max_days} days)"
    apart = [abs((s.study.started.date() - day).days) for s in partners]
    if any(days <= settings.max_days for days in apart):
        return f"Waits for {wanted}: those that are here belong to a nearer study."
    if apart:
        return f"Waits for {wanted}: the nearest that is here is {min(apart)} days away."
    return f"Waits for {wanted}."
