"""An invented cohort as a node has it: finished cases on disk and in the journal, and a clinical table beside."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from journals import new_journal
from sqlalchemy import insert

from analysis.phantom.cohort import invented_cohort
from service.cohort_inputs import CohortSection
from service.journal import Journal
from service.tables import JobState, jobs

COLUMNS = 12  # of features.csv: keys, and features enough for a report
QUICK = {"permutations": 19, "resamples": 3, "repeats": 1, "relabelings": 3}


@dataclass(frozen=True, kw_only=True)
class KnownCohort:
    """A data folder with finished cases. section: [cohort] with quick settings."""

    data: Path
    journal: Journal
    section: CohortSection


def known_cohort(folder: Path, seed: int = 1, cycles: int = 24) -> KnownCohort:
    """The first cycles of an invented cohort, as cases whose results hold their features alone."""
    made = invented_cohort(seed)
    data = folder / "data"
    data.mkdir(parents=True)
    (folder / "clinical.csv").write_text(made.clinical_csv)
    journal = new_journal("", data)
    for number, row in enumerate(rows_of(seed)[:cycles], start=1):
        add_case(journal, data, f"2.25.{number}", row)
    section = CohortSection(clinical=folder / "clinical.csv", quiet_s=0.1, **QUICK)
    return KnownCohort(data=data, journal=journal, section=section)


def rows_of(seed: int = 1) -> list[dict[str, str]]:
    """The rows of features.csv of an invented cohort, with its first columns."""
    rows = csv.DictReader(io.StringIO(invented_cohort(seed).features_csv))
    return [dict(list(row.items())[:COLUMNS]) for row in rows]


def add_case(journal: Journal, data: Path, uid: str, row: dict[str, str]) -> None:
    """A case that is done and lies in its folder."""
    folder = data / "cases" / uid
    folder.mkdir(parents=True)
    with (folder / "features.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
    _enter(journal, uid, row["patient_id"])


def _enter(journal: Journal, uid: str, patient_id: str) -> None:
    values = {
        "pair_uid": uid,
        "patient_id": patient_id,
        "issuer": "",
        "fdg_study": f"{uid}.1",
        "pentixafor_study": f"{uid}.2",
        "version": 1,
        "inputs": "{}",
        "state": JobState.DONE,
        "reason": "",
        "sentence": "",
        "progress": "",
        "failures": 0,
        "next_try_at": 0.0,
        "created_at": 0.0,
    }
    with journal.writing() as connection:
        connection.execute(insert(jobs).values(**values))
