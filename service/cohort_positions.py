"""Where each pair's features lie within the cohort, into the pair's own report: a description, no prediction."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from service import casebook
from service.handover import exchange
from service.inbox import sync_tree
from service.journal import Journal
from service.postings import post, posting_of
from service.tables import JobState
from service.worker import draft_beside

if TYPE_CHECKING:
    from analysis.cohort.pairs import PairFeatures
    from analysis.cohort.values import CohortTable

POSITIONS = "positions.json"  # in a version's folder: pair UID > its positions
REPORT = "sr-pair"


def write_positions(table: CohortTable, cases: Sequence[tuple[str, PairFeatures]], folder: Path) -> None:
    """Every case's positions into the version's folder."""
    from analysis.cohort.positions import positions

    found = {uid: [asdict(each) for each in positions(table, pair.features)] for uid, pair in cases}
    (folder / POSITIONS).write_text(json.dumps(found) + "\n", encoding="utf-8")


def report_positions(journal: Journal, data: Path, version: tuple[int, Path], destinations: Sequence[str], now: float) -> int:
    """Each delivered case's report of the pair with its positions, and on its way; how many are new.

    version: number and folder. The same call again changes nothing, so it may be cut off at any place. Raises OSError.
    """
    number, folder = version
    changed = 0
    for job_id, case, found in _cases(journal, data, folder):
        changed += _reposition(case, found, number)
        postings = [posting_of(case / f"{REPORT}.dcm", data, name) for name in destinations]
        with journal.writing() as connection:
            post(connection, job_id, postings, now)
    return changed


def _cases(journal: Journal, data: Path, folder: Path) -> Iterator[tuple[int, Path, list[dict[str, object]]]]:
    """(job, its folder, its positions) of every case of the version that still holds."""
    path = folder / POSITIONS
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for job in casebook.jobs_of(journal, inputs=False):
        case = data / "cases" / job.pair_uid
        if job.state is JobState.DONE and job.pair_uid in found and case.is_dir():
            yield job.id, case, found[job.pair_uid]


def _reposition(case: Path, found: Sequence[dict[str, object]], number: int) -> bool:
    """The case's folder with the new report, exchanged as a whole; False where it bears it already."""
    from analysis.cohort.values import Position
    from dicom_io.position import with_positions
    from dicom_io.writing import save

    report = with_positions(case, [Position(**each) for each in found], number)  # type: ignore[arg-type]
    results = json.loads((case / "results.json").read_text(encoding="utf-8"))
    if results["objects"][REPORT]["sop_instance_uid"] == report.SOPInstanceUID:
        return False
    results["objects"][REPORT]["sop_instance_uid"] = str(report.SOPInstanceUID)
    with draft_beside(case) as draft:
        shutil.copytree(case, draft, copy_function=os.link)  # nothing of a case is ever written in place
        for name in (f"{REPORT}.dcm", "results.json"):
            (draft / name).unlink()
        save(report, draft / f"{REPORT}.dcm")
        text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        (draft / "results.json").write_text(text, encoding="utf-8", newline="")
        sync_tree(draft)
        exchange(draft, case)
    return True
