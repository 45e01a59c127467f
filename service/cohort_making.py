"""A version of the cohort's report as a folder: tables, figures, HTML and PDF, and the objects that are sent of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ports import Progress
from service.cohort_inputs import CohortSection, case_folders, clinical_table, pairs_of_cases
from service.cohort_positions import write_positions
from service.inbox import seal
from service.worker import draft_beside

if TYPE_CHECKING:
    from analysis.cohort.clinical import Clinical
    from analysis.cohort.pairs import PairFeatures
    from analysis.cohort.values import Results

OCCASION = "occasion.json"  # beside the report: what the version is; written last but the folder's own name


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionJob:
    """What a child process needs to make one version. earlier: the folder of the version before, None for the first."""

    section: CohortSection
    data: Path
    pair_uids: tuple[str, ...]
    folder: Path
    number: int
    made_at: float
    earlier: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeVersion:
    """What lies in a version's folder. objects: to be sent, in this order."""

    number: int
    cycles: int
    patients: int
    made_at: float
    objects: tuple[Path, ...]


def write_results(results: Results, out: Path, *, number: int, made_at: datetime) -> None:
    """Report, figures and tables of the results into `out`. number: of the version, 0 for none. Raises OSError."""
    from analysis.cohort.report import Occasion, cohort_document
    from analysis.cohort.report_files import write_report

    title = "Cohort report" if number == 0 else f"Cohort report, version {number}"
    occasion = Occasion(title=title, made_at=made_at, version=version("duet-node"))
    write_report(cohort_document(results, occasion), results, out)


def analysed(pairs: Sequence[PairFeatures], clinical: Clinical, section: CohortSection, progress: Progress) -> Results:
    """The cohort's results. Raises BadSettings."""
    from analysis.cohort.results import cohort_results

    return cohort_results(pairs, clinical, section.science, progress=progress)


def make_version(job: VersionJob, progress: Progress) -> MadeVersion:
    """The version on disk, complete. A folder that is there was finished earlier and is kept. Raises Rejected."""
    if not job.folder.is_dir():
        assert job.section.clinical is not None  # noqa: S101  without a table nobody asks for a version
        pairs = pairs_of_cases(job.data, job.pair_uids)
        uids = [folder.name for folder in case_folders(job.data, job.pair_uids)]
        results = analysed(pairs, clinical_table(job.section.clinical), job.section, progress)
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        with draft_beside(job.folder) as draft:
            draft.mkdir()
            write_results(results, draft, number=job.number, made_at=datetime.fromtimestamp(job.made_at, UTC))
            if job.section.positions:
                write_positions(results.table, list(zip(uids, pairs, strict=True)), draft)
            _write_objects(results, draft, job)
            seal(draft, job.folder)
    return made_version(job.folder)


def _write_objects(results: Results, draft: Path, job: VersionJob) -> None:
    from pydicom import dcmread

    from analysis.cohort.estimates import cohort_estimates
    from dicom_io.cohort_objects import cohort_objects
    from dicom_io.cohort_occasion import CohortOccasion, predecessors, study_of
    from dicom_io.writing import save

    section = job.section
    earlier = made_version(job.earlier).objects if job.earlier is not None else ()
    older = predecessors(dcmread(path, stop_before_pixels=True, defer_size="1 KB") for path in earlier)
    occasion = CohortOccasion(
        patient_id=section.patient_id,
        patient_name=section.patient_name,
        version=job.number,
        made_at=datetime.fromtimestamp(job.made_at, UTC),
        patients=len(set(results.table.patients)),
        cycles=len(results.table),
        software=version("duet-node"),
        # A version under another pseudo-patient is not replaced, for it lies in another study.
        predecessors=tuple(each for each in older if each.study_instance_uid == study_of(section.patient_id)),
    )
    objects = cohort_objects((draft / "report.pdf").read_bytes(), cohort_estimates(results), occasion)
    for name, ds in objects.items():
        save(ds, draft / f"{name}.dcm")
    facts = {
        "version": job.number,
        "cycles": occasion.cycles,
        "patients": occasion.patients,
        "made_at": job.made_at,
        "objects": list(objects),
        "cases": list(job.pair_uids),
    }
    (draft / OCCASION).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def made_version(folder: Path) -> MadeVersion:
    """What a finished folder holds."""
    facts = json.loads((folder / OCCASION).read_text(encoding="utf-8"))
    return MadeVersion(
        number=facts["version"],
        cycles=facts["cycles"],
        patients=facts["patients"],
        made_at=facts["made_at"],
        objects=tuple(folder / f"{name}.dcm" for name in facts["objects"]),
    )
