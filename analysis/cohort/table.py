"""Features and clinical rows as one table: a row for each treatment cycle, with the latest pair before its therapy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from analysis.cohort.clinical import Clinical, ClinicalRow
from analysis.cohort.columns import count_features, own_columns, unit_of, wanted
from analysis.cohort.followup import follow_ups
from analysis.cohort.pairs import PairFeatures
from analysis.cohort.response import Judged, judge
from analysis.cohort.settings import CohortSettings
from analysis.cohort.values import NAN, CohortTable, Column, Kind
from analysis.errors import BadSettings

FACTS = ("mm_subtype", "prior_lines", "prior_hsct", "hsct", "radionuclide", "activity_gbq", "scanner", "response_source")
CLINICAL = (
    ("sex", "1", Kind.YES_NO),
    ("age", "a", Kind.NUMBER),
    ("weight_kg", "kg", Kind.NUMBER),
    ("bmi", "kg/m2", Kind.NUMBER),
    ("disease_duration_months", "mo", Kind.NUMBER),
    ("high_risk_cytogenetics", "1", Kind.YES_NO),
    ("b2m_mg_l", "mg/L", Kind.NUMBER),
)
OLD_DAYS = 90  # from the last scan to therapy: more is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """A clinical row and the pair that stands for it."""

    row: ClinicalRow
    pair: PairFeatures

    @property
    def name(self) -> str:
        return f"{self.row.patient_id} {self.row.therapy.isoformat()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """All cycles that have both, and sentences on what has not."""

    cycles: tuple[Cycle, ...]
    notes: tuple[str, ...]


def cohort_table(pairs: Sequence[PairFeatures], clinical: Clinical, settings: CohortSettings) -> CohortTable:
    """The cohort. Raises BadSettings where no cycle has both a pair and a clinical row."""
    return tabulated(join(pairs, clinical, settings), clinical, settings)


def join(pairs: Sequence[PairFeatures], clinical: Clinical, settings: CohortSettings) -> Joined:
    """Each treatment cycle with the latest pair that was complete before its day of therapy. Raises BadSettings.

    A pair on the day of therapy itself is not used: which came first cannot be told. A pair that was scanned before an
    earlier therapy of the patient says nothing of the state before this one, and is used only with `reuse_pairs`.
    """
    by_patient: dict[str, list[PairFeatures]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.last, pair.fdg_date)):
        by_patient.setdefault(pair.patient_id, []).append(pair)
    cycles: list[Cycle] = []
    notes: list[str] = []
    earlier: dict[str, date] = {}
    for row in sorted(clinical.rows, key=lambda row: (row.patient_id, row.therapy)):
        found = _latest(row, by_patient, earlier.get(row.patient_id), settings)
        earlier[row.patient_id] = row.therapy
        if isinstance(found, str):
            notes.append(f"Row {row.number} of the clinical table is left out: {found}.")
            continue
        cycles.append(Cycle(row=row, pair=found))
        days = (row.therapy - found.last).days
        if days > OLD_DAYS:
            notes.append(f"Row {row.number}: the last scan was {days} days before therapy.")
    if not cycles:
        raise BadSettings(f"{clinical.source}: no row has a pair of studies before its therapy. {' '.join(notes[:3])}".strip())
    used = {id(cycle.pair) for cycle in cycles}
    unused = sum(id(pair) not in used for pair in pairs)
    if unused:
        notes.append(f"{unused} of {len(pairs)} pairs of studies belong to no treatment cycle of the clinical table.")
    return Joined(cycles=tuple(cycles), notes=tuple(notes))


def _latest(
    row: ClinicalRow, by_patient: Mapping[str, list[PairFeatures]], earlier: date | None, settings: CohortSettings
) -> PairFeatures | str:
    """The pair that stands for a row, or why there is none."""
    known = by_patient.get(row.patient_id)
    if known is None:
        alike = row.patient_id.lstrip("0") in {name.lstrip("0") for name in by_patient}
        hint = "; the features have a patient whose ID differs by zeros at its beginning" if alike else ""
        return f"its patient has no features{hint}"
    before = [pair for pair in known if pair.last < row.therapy]
    if not before:
        return f"no pair of studies was complete before therapy on {row.therapy}"
    latest = before[-1]
    if earlier is not None and latest.last < earlier and not settings.reuse_pairs:
        return f"its latest pair is older than the therapy of {earlier} (setting reuse_pairs)"
    days = (row.therapy - latest.last).days
    if settings.most_days and days > settings.most_days:
        return f"its latest pair is {days} days older than therapy (setting most_days: {settings.most_days})"
    return latest


def tabulated(joined: Joined, clinical: Clinical, settings: CohortSettings) -> CohortTable:
    """The joined cycles as columns, labels and times. Raises BadSettings where the column to harmonise by is not there."""
    if settings.harmonise and settings.harmonise not in clinical.columns:
        raise BadSettings(
            f"[cohort] harmonise: the clinical table has no column {settings.harmonise!r}; add it, or leave the setting empty."
        )
    rows = [cycle.row for cycle in joined.cycles]
    judged = [judge(row, settings.response_from) for row in rows]
    return CohortTable(
        cycles=tuple(cycle.name for cycle in joined.cycles),
        patients=tuple(row.patient_id for row in rows),
        columns=_distinct((*_image_columns(joined.cycles, settings), *_clinical_columns(rows, clinical.columns))),
        response=np.array([NAN if each.responds is None else float(each.responds) for each in judged]),
        follow_up=follow_ups(rows, clinical.columns),
        facts={
            **{name: tuple(_fact(row, name) for row in rows) for name in FACTS if name in clinical.columns},
            "response_basis": tuple(each.source or None for each in judged),
        },
        lesion_counts=_counts(joined.cycles),
        notes=(*clinical.notes, *joined.notes, *_notes(joined.cycles, judged)),
    )


def _distinct(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Raises BadSettings where both tables have a column of one name."""
    names = [column.name for column in columns]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise BadSettings(f"{twice!r} is a column of both tables, the features and the clinical one; take it out of one.")
    return columns


def _notes(cycles: Sequence[Cycle], judged: Sequence[Judged]) -> list[str]:
    notes = [note for each in judged for note in each.notes]
    own = own_columns(dict.fromkeys(name for cycle in cycles for name in cycle.pair.features))
    if own:
        notes.append(f"Examined beside the paper's features: {', '.join(own)}, which duet does not write.")
    held = sum(cycle.pair.verdict == "hold" for cycle in cycles)
    warned = sum(bool(cycle.pair.warnings) for cycle in cycles)
    if warned:
        notes.append(f"{warned} of {len(cycles)} pairs have quality findings; {held} of them would be held by a node.")
    return notes


def _image_columns(cycles: Sequence[Cycle], settings: CohortSettings) -> list[Column]:
    """The examined features that any pair has a column for. Raises BadSettings for a named extra one that none has."""
    absent = [name for name in settings.features if all(name not in cycle.pair.features for cycle in cycles)]
    if absent:
        raise BadSettings(f"[cohort] features: no pair has a feature {absent[0]!r}; write it as in features.csv.")
    there: dict[str, None] = dict.fromkeys(name for cycle in cycles for name in cycle.pair.features)
    return [
        Column(name=name, unit=unit_of(name), values=np.array([cycle.pair.features.get(name, NAN) for cycle in cycles]))
        for name in wanted(settings.features, there)
        if name in there
    ]


def _clinical_columns(rows: Sequence[ClinicalRow], there: Sequence[str]) -> list[Column]:
    """The paper's seven clinical features, of those columns that the table has."""
    numbers = {name: np.array([_number(row, name) for row in rows]) for name in there}
    male = {"M": 1.0, "F": 0.0}
    numbers["sex"] = np.array([male.get(row.text_of("sex") or "", NAN) for row in rows])
    if "weight_kg" in there and "height_cm" in there:
        numbers["bmi"] = numbers["weight_kg"] / (numbers["height_cm"] / 100.0) ** 2
    return [
        Column(name=name, values=numbers[name], unit=unit, kind=kind, clinical=True, yes="male" if name == "sex" else "yes")
        for name, unit, kind in CLINICAL
        if name in numbers and (name in there or name == "bmi")
    ]


def _number(row: ClinicalRow, name: str) -> float:
    value = row.number_of(name)
    return NAN if value is None else value


def _fact(row: ClinicalRow, name: str) -> str | None:
    value = row.values.get(name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else None if value is None else str(value)


def _counts(cycles: Sequence[Cycle]) -> dict[str, npt.NDArray[np.float64]]:
    return {
        name.removeprefix("Count[").removesuffix("]"): np.array([cycle.pair.features.get(name, NAN) for cycle in cycles])
        for name in count_features()
        if any(name in cycle.pair.features for cycle in cycles)
    }
