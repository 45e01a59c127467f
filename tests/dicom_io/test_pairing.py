"""Which FDG study goes with which PentixaFor study, and what the others wait for."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from analysis.errors import IdentityConflict, NotAPair
from analysis.values import Tracer
from dicom_io.pairing import PairingSettings, one_pair, pair
from dicom_io.studies import Instance, PatientIdentity, Series, Study, TracerStudy

FIRST = datetime(2026, 3, 1, 10)


def scan(tracer: Tracer, day: int, patient: str = "P1", **who: str) -> TracerStudy:
    ds = Dataset()
    ds.StudyInstanceUID = f"1.2.{1 if tracer is Tracer.FDG else 2}.{day}.{sum(map(ord, patient))}"
    ds.SeriesInstanceUID = f"{ds.StudyInstanceUID}.1"
    ds.SOPInstanceUID = f"{ds.StudyInstanceUID}.1.1"
    series = Series(instances=(Instance(path=Path("x.dcm"), header=ds),))
    started = FIRST + timedelta(days=day)
    identity = PatientIdentity(patient_id=patient, **who)
    study = Study(patient=identity, series=(series,), started=started)
    return TracerStudy(study=study, tracer=tracer, injected=started - timedelta(hours=1), pet=series, ct=series)


def fdg(day: int, patient: str = "P1", **who: str) -> TracerStudy:
    return scan(Tracer.FDG, day, patient, **who)


def pentixafor(day: int, patient: str = "P1", **who: str) -> TracerStudy:
    return scan(Tracer.PENTIXAFOR, day, patient, **who)


def days(*studies: TracerStudy, max_days: int = 30) -> list[tuple[int, int]]:
    pairs = pair(studies, PairingSettings(max_days=max_days)).pairs
    return [((p.fdg.study.started - FIRST).days, (p.pentixafor.study.started - FIRST).days) for p in pairs]


def test_real_pair(real_studies: list[TracerStudy]) -> None:
    assert one_pair(real_studies[:1], real_studies[1:]).gap_days == 2
    assert pair(real_studies).pairs[0].uid == pair(real_studies[::-1]).pairs[0].uid


def test_the_nearest_wins_and_each_study_is_used_once() -> None:
    assert days(fdg(0), fdg(10), pentixafor(12)) == [(10, 12)]
    assert days(fdg(0), pentixafor(5), pentixafor(-2)) == [(0, -2)]
    assert days(fdg(0), pentixafor(2), fdg(67), pentixafor(70)) == [(0, 2), (67, 70)]


def test_thirty_days_and_no_more() -> None:
    assert days(fdg(0), pentixafor(30)) == [(0, 30)]
    assert days(fdg(0), pentixafor(31)) == []
    assert days(fdg(0), pentixafor(31), max_days=40) == [(0, 31)]


def test_patients_are_never_mixed() -> None:
    assert days(fdg(0), pentixafor(0, "P2")) == []
    assert days(fdg(0, issuer="A"), pentixafor(0, issuer="B")) == []
    assert days(fdg(0, issuer="A"), pentixafor(0)) == [(0, 0)]
    assert days(fdg(0, ""), pentixafor(0, "")) == []


def test_what_the_others_wait_for() -> None:
    waiting = {s.study.study_instance_uid: sentence for s, sentence in pair([fdg(0), pentixafor(45)]).waiting}
    assert len(waiting) == 2
    assert all("45 days away" in sentence for sentence in waiting.values())
    ((_, alone),) = pair([fdg(0)]).waiting
    assert "a PentixaFor study of the same patient between 2026-01-30 and 2026-03-31" in alone
    ((_, second),) = pair([fdg(0), fdg(10), pentixafor(12)]).waiting
    assert "nearer study" in second
    ((_, nobody),) = pair([fdg(0, "")]).waiting
    assert "no PatientID" in nobody


def test_two_people_with_one_id() -> None:
    studies = [fdg(0, birth_date="19600101"), pentixafor(1, birth_date="19610101")]
    with pytest.raises(IdentityConflict, match="birth date"):
        pair(studies)
    with pytest.raises(IdentityConflict, match="birth date"):
        one_pair(studies[:1], studies[1:])


def test_one_pair_says_what_is_wrong() -> None:
    with pytest.raises(NotAPair, match="different PatientIDs"):
        one_pair([fdg(0)], [pentixafor(0, "P2")])
    with pytest.raises(NotAPair, match="41 days apart"):
        one_pair([fdg(0)], [pentixafor(41)])
    with pytest.raises(NotAPair, match="exchanged"):
        one_pair([pentixafor(0)], [fdg(0)])
    with pytest.raises(NotAPair, match="first folder holds no FDG study"):
        one_pair([pentixafor(0)], [pentixafor(1)])
    with pytest.raises(NotAPair, match="second folder holds no PentixaFor study"):
        one_pair([fdg(0)], [])


def test_one_pair_takes_the_nearest() -> None:
    found = one_pair([fdg(0), fdg(20)], [pentixafor(18), pentixafor(60)])
    assert found.gap_days == 2


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Tracer)), st.integers(-60, 60), st.sampled_from(["P1", "P2"])), unique=True, max_size=9
    ),
    st.randoms(use_true_random=False),
)
def test_pairing_depends_on_the_studies_alone(drawn, random) -> None:
    studies = [scan(*each) for each in drawn]
    shuffled = list(studies)
    random.shuffle(shuffled)
    one, other = pair(studies), pair(shuffled)
    assert [p.uid for p in one.pairs] == [p.uid for p in other.pairs]
    used = [s.study.study_instance_uid for p in one.pairs for s in (p.fdg, p.pentixafor)]
    assert len(used) == len(set(used))
    assert len(used) + len(one.waiting) == len(studies)
    assert all(p.gap_days <= 30 and p.fdg.study.patient == p.pentixafor.study.patient for p in one.pairs)
