"""What the pages show: the worklist, one case, the cohort's report, from the journal and the case folders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service import casebook, cohorts, outcomes, postings, releases
from service.casebook import LONGEST_NUMBER, JobRow
from service.explain import Patience, cases_of, committed, when
from service.journal import Journal
from service.overview import CaseView, explained, searched, study_state
from service.traces import study_id
from service.worklist import PAGE, STATES, Entry, count_entries, entries

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_PAGES = 100_000
REFRESH_S = 60
LESION_COLUMNS = (
    ("id", "Lesion"),
    ("tracer", "Tracer"),
    ("region", "Region"),
    ("site", "Site"),
    ("concordance", "Concordance"),
    ("volume_ml", "Volume (ml)"),
    ("suv_max", "SUVmax"),
    ("suv_mean", "SUVmean"),
    ("suv_peak", "SUVpeak"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the pages are made of. journal: of their own; data: the node's folder."""

    journal: Journal
    data: Path
    ae_title: str
    patience: Patience = field(default_factory=Patience)


def environment(material: Material) -> Environment:
    """The templates; whatever stands in a value is text, never a part of the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(loader=PackageLoader("service", "templates"), autoescape=True, undefined=StrictUndefined)
    found.globals.update(ae_title=material.ae_title, when=when, committed=committed)
    found.filters.update(date=_date, short=_short)
    return found


def page_number(words: str) -> int | None:
    """A number from an address; None where it is none, or too large for a database."""
    fits = words.isascii() and words.isdecimal() and len(words) < LONGEST_NUMBER
    return int(words) if fits and 0 < int(words) <= MOST_PAGES * PAGE else None


def worklist_facts(material: Material, state: str, number: int) -> Mapping[str, Any]:
    """One page of the worklist: what is shown, and the pages beside it."""
    total = count_entries(material.journal, state)
    pages = max(1, -(-total // PAGE))
    number = min(number, pages)
    found = entries(material.journal, state, number)
    return {
        "rows": _rows(material, found),
        "state": state,
        "states": STATES,
        "total": total,
        "number": number,
        "pages": pages,
        "refresh_s": REFRESH_S,
    }


def _rows(material: Material, found: Sequence[Entry]) -> list[Mapping[str, Any]]:
    """Each entry with its sentence, in the order of the list."""
    uids = [entry.uid for entry in found if entry.uid]
    rows = [searched(material.journal, row) for row in casebook.studies_by_uid(material.journal, uids)]
    partners = cases_of(material.journal, uids)
    numbers = {e.number for e in found if e.number} | {number for of_study in partners.values() for number in of_study}
    views, said = explained(material.journal, rows, case_views(material, sorted(numbers)), material.patience)
    cases = {view.job.id: view for view in views}
    studies = {row.study_instance_uid: row for row in rows}
    listed = []
    for entry in found:
        if entry.number in cases:
            view = cases[entry.number]
            what = f"Case {view.job.id}, version {view.job.version}"
            listed.append(_row(view.job.patient_id, what, view.state, view.said, view.job.id))
        elif entry.uid in studies:
            row = studies[entry.uid]
            what = f"{row.tracer or 'Unknown tracer'}, {_date(row.study_date)}, {row.instances} objects"
            named = study_id(material.journal, row.study_instance_uid)
            held_in = partners.get(row.study_instance_uid, [])
            key = held_in[-1] if held_in else None
            listed.append(_row(row.patient_id, what, study_state(row)[0], said[row.study_instance_uid], key, named))
    return listed


def _row(patient_id: str, what: str, state: str, sentence: str, case: int | None, study: str = "") -> Mapping[str, Any]:
    return {"patient_id": patient_id, "what": what, "state": state, "sentence": sentence, "case": case, "study": study}


def case_views(material: Material, numbers: Sequence[int]) -> list[CaseView]:
    """These cases with what is known beside their rows."""
    counts = postings.counts_of(material.journal, numbers)
    found, given = outcomes.newest_outcomes(material.journal, numbers), releases.active_of(material.journal, numbers)
    return [
        CaseView(
            job=job,
            outcome=found.get(job.id),
            release=given.get(job.id),
            deliveries=tuple(count for count in counts if count.job_id == job.id),
        )
        for job in casebook.jobs_by_number(material.journal, numbers)
    ]


def job_of(material: Material, number: str) -> JobRow | None:
    """The case of this number; None where there is none."""
    wanted = page_number(number)
    return next(iter(casebook.jobs_by_number(material.journal, [] if wanted is None else [wanted])), None)


def case_view(material: Material, number: str) -> CaseView | None:
    """The case of this number with its sentence; None where there is none."""
    job = job_of(material, number)
    if job is None:
        return None
    (view,), _ = explained(material.journal, (), case_views(material, [job.id]), material.patience)
    return view


def case_facts(material: Material, view: CaseView) -> Mapping[str, Any]:
    """What one case's page shows."""
    folder = material.data / "cases" / view.job.pair_uid
    uids = (view.job.fdg_study, view.job.pentixafor_study)
    studies = [
        (row, study_id(material.journal, row.study_instance_uid)) for row in casebook.studies_by_uid(material.journal, uids)
    ]
    results = _results(folder)
    order = ("hold", "warn", "ok")
    findings = view.outcome.findings if view.outcome is not None else results.get("quality", ())
    return {
        "case": view,
        "studies": studies,
        "findings": sorted(findings, key=lambda finding: order.index(finding["verdict"])),
        "lesions": [[lesion.get(key) for key, _ in LESION_COLUMNS] for lesion in results.get("lesions", ())],
        "columns": [words for _, words in LESION_COLUMNS],
        "not_run": results.get("not_run", {}),
        "analysed": bool(results),
        "picture": (folder / "fusion.png").is_file(),
    }


def _results(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def cohort_facts(material: Material) -> Mapping[str, Any]:
    """What the cohort's page shows."""
    newest, refused = cohorts.newest(material.journal), cohorts.refusal(material.journal)
    counts = [count for count in postings.cohort_counts(material.journal) if newest is not None and count.job_id == newest.id]
    here = newest is not None and (material.data / newest.folder / "report.html").is_file()
    return {"newest": newest, "refused": refused, "deliveries": counts, "report": here}


def _date(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else "unknown date"


def _short(value: Any) -> str:
    """A number as one reads it; nothing where there is none."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
