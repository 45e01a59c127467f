"""Finished cases as a node has them, on hold or not, without an analysis: for the tests of what follows one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from factories import FEW, make_case

from analysis.values import Finding, Verdict
from dicom_io.results import write_case
from dicom_io.studies import DualTracerPair
from service import casebook
from service.journal import Journal
from service.tables import JobState, jobs, studies
from service.worker import case_result

HOLD = "FDG was imaged 159 min after injection; values are not comparable."
FINDINGS = (
    Finding(name="FDG liver SUVmean", value=2.1, limit="1.3 to 3.0", verdict=Verdict.OK, message="The liver is as expected."),
    Finding(name="FDG uptake time", value=159.0, limit="45 to 90 min", verdict=Verdict.HOLD, message=HOLD),
)


@dataclass(frozen=True, kw_only=True)
class Made:
    """The results of a pair in a folder. pair: what they were made of."""

    folder: Path
    pair: DualTracerPair


def made_case(folder: Path, *, held: bool = True, settings: str = "") -> Made:
    """Both studies below `folder`/in, the results in `folder`/case; other settings give other UIDs."""
    pair, analysis = make_case(folder / "in", FEW)
    findings = FINDINGS if held else FINDINGS[:1]
    write_case(folder / "case", pair, replace(analysis, findings=findings, settings={"name": settings}))
    return Made(folder=folder / "case", pair=pair)


def enter(journal: Journal, data: Path, case: Made, name: str = "") -> int:
    """A copy of the results as a case of the node that waits for its turn; returns its number. name: for a second copy."""
    uid = f"{case.pair.uid}{name}"
    shutil.copytree(case.folder, data / "cases" / uid)
    words: dict[str, Any] = {
        "pair_uid": uid,
        "patient_id": f"TEST01{name}",
        "issuer": "",
        "fdg_study": case.pair.fdg.study.study_instance_uid + name,
        "pentixafor_study": case.pair.pentixafor.study.study_instance_uid + name,
        "version": 1,
        "inputs": '{"fdg": [], "pentixafor": []}',
        "state": JobState.QUEUED,
        **dict.fromkeys(("reason", "sentence", "progress"), ""),
        **dict.fromkeys(("failures", "next_try_at", "created_at"), 0),
    }
    with journal.writing() as connection:
        number = connection.execute(jobs.insert().values(**words)).inserted_primary_key
    assert number is not None
    return int(number[0])


def enter_study(journal: Journal, uid: str, patient_id: str, tracer: str) -> None:
    """A study that is part of a case."""
    words = {"issuer": "", "study_date": "20260310", "state": "paired", "reason": "", "sentence": "", "last_received_at": 0.0}
    with journal.writing() as connection:
        connection.execute(
            studies.insert().values(
                study_instance_uid=uid, patient_id=patient_id, tracer=tracer, instances=1, settled_instances=1, **words
            )
        )


def put_on_hold(journal: Journal, data: Path, case: Made, name: str = "") -> int:
    """As `enter`, and its quality has put it on hold, as the engine does that."""
    number = enter(journal, data, case, name)
    job = casebook.claim(journal, 1.0)
    assert job is not None
    result = case_result(data / "cases" / job.pair_uid)
    casebook.hold(journal, job.id, f"Not delivered: {' '.join(result.held)}", result.outcome, 1.0)
    return number
