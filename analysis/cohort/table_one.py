"""Table 1 of the paper: who the patients are, how they were treated, what was seen; with what is missing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from analysis.cohort.report_numbers import MISSING, number, percent, unit_of
from analysis.cohort.report_values import TableBlock
from analysis.cohort.values import CohortTable, Column, Endpoint, Kind
from analysis.space import FloatArray

Row = tuple[str, ...]
_FACTS = {
    "mm_subtype": "Subtype of myeloma",
    "prior_lines": "Prior lines of therapy",
    "prior_hsct": "Stem cell transplant before",
    "hsct": "Stem cell transplant with the therapy",
    "radionuclide": "Radionuclide",
    "activity_gbq": "Activity [GBq]",
    "scanner": "Scanner",
    "response_basis": "Response judged by",
}
_OF_PATIENTS = ("mm_subtype",)
_NAMES = {
    "age": "Age",
    "weight_kg": "Weight",
    "bmi": "Body mass index",
    "disease_duration_months": "Disease duration",
    "high_risk_cytogenetics": "High-risk cytogenetics",
    "b2m_mg_l": "Beta-2 microglobulin",
    "sex": "Sex",
}
_MOST_WORDS = 12  # different words of a fact that are listed


def table_one(table: CohortTable) -> TableBlock:
    """Medians with range and counts with percent; sex, age and subtype once a patient, all else once a cycle."""
    rows = [
        ("Patients and cycles",),
        ("Patients", str(len(set(table.patients))), ""),
        ("Treatment cycles", str(len(table)), ""),
        ("Patients with more than one cycle", str(sum(n > 1 for n in Counter(table.patients).values())), ""),
        *_clinical(table),
        *_facts(table),
        *_outcome(table),
        *_lesions(table),
    ]
    return TableBlock(
        label="",
        title="Patients, treatment, response and lesions",
        head=("", "Median (range), or n (%)", "Missing"),
        rows=tuple(rows),
        widths=(0.44, 0.4, 0.16),
        footnotes=(
            "Sex, age and subtype are counted once a patient, from the first cycle in the table; all else once a cycle.",
            "Percentages are of those that are known.",
        ),
    )


def _first(table: CohortTable) -> list[int]:
    """The first row of each patient."""
    return [table.patients.index(patient) for patient in dict.fromkeys(table.patients)]


def _range(values: FloatArray, unit: str = "") -> str:
    known = values[~np.isnan(values)]
    if known.size == 0:
        return MISSING
    words = f"{number(float(np.median(known)), 3)} ({number(float(known.min()), 3)} to {number(float(known.max()), 3)})"
    return f"{words} {unit}".strip()


def _gap(missing: int, of: int) -> str:
    return f"{missing} of {of}" if missing else "0"


def _clinical(table: CohortTable) -> Iterator[Row]:
    clinical = [column for column in table.columns if column.clinical]
    if clinical:
        yield ("Clinical table",)
    for column in clinical:
        rows = _first(table) if column.name in ("sex", "age") else list(range(len(table)))
        yield _clinical_row(column, column.values[rows])


def _clinical_row(column: Column, values: FloatArray) -> Row:
    name = _NAMES.get(column.name, column.name)
    missing = _gap(int(np.isnan(values).sum()), values.size)
    if column.kind is Kind.NUMBER:
        return (name, _range(values, unit_of(column.unit)), missing)
    known = values[~np.isnan(values)]
    label = name if column.yes == "yes" else f"{name}: {column.yes}"
    return (label, f"{int(known.sum())} ({percent(known.sum(), known.size)})" if known.size else MISSING, missing)


def _facts(table: CohortTable) -> Iterator[Row]:
    if table.facts:
        yield ("Disease and treatment",)
    for key, words in table.facts.items():
        rows = _first(table) if key in _OF_PATIENTS else list(range(len(table)))
        yield from _fact(_FACTS.get(key, key), [words[row] for row in rows])


def _fact(name: str, words: Sequence[str | None]) -> Iterator[Row]:
    known = [word for word in words if word is not None]
    missing = _gap(len(words) - len(known), len(words))
    numbers = [_as_number(word) for word in known]
    if known and all(value is not None for value in numbers):
        yield (name, _range(np.array(numbers, dtype=np.float64)), missing)
        return
    counts = Counter(known).most_common()
    told = [f"{word} {n} ({percent(n, len(known))})" for word, n in counts[:_MOST_WORDS]]
    rest = sum(n for _, n in counts[_MOST_WORDS:])
    yield (name, "; ".join([*told, *([f"others {rest}"] if rest else [])]) or MISSING, missing)


def _as_number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _outcome(table: CohortTable) -> Iterator[Row]:
    known = int((~np.isnan(table.response)).sum())
    yield ("Response and follow-up",)
    for label, words in ((1.0, "Responders"), (0.0, "Non-responders")):
        n = int((table.response == label).sum())
        yield (words, f"{n} ({percent(n, known)})" if known else MISSING, _gap(len(table) - known, len(table)))
    for endpoint, name, event in (
        (Endpoint.OS, "Overall survival", "deaths"),
        (Endpoint.PFS, "Progression-free survival", "progressions or deaths"),
    ):
        follow = table.follow_up.get(endpoint)
        if follow is None:
            yield (f"{name} ({endpoint})", MISSING, _gap(len(table), len(table)))
            continue
        seen, missing = int(follow.known.sum()), _gap(int((~follow.known).sum()), len(table))
        happened = int(follow.event[follow.known].sum())
        yield (f"{endpoint}: {event}", f"{happened} ({percent(happened, seen)})" if seen else MISSING, missing)
        yield (f"{endpoint}: days to the event or the last contact", _range(follow.days), missing)


def _lesions(table: CohortTable) -> Iterator[Row]:
    if table.lesion_counts:
        yield ("Lesions: in all, median (range) a cycle",)
    for name, counts in table.lesion_counts.items():
        known = counts[~np.isnan(counts)]
        words = f"{int(known.sum())}; {_range(counts)}" if known.size else MISSING
        yield (name, words, _gap(int(np.isnan(counts).sum()), counts.size))
