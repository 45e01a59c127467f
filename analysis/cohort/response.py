"""Whether a treatment cycle was answered: from M-protein, light chains or a category, and on what that rests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.cohort.clinical import ClinicalRow
from analysis.cohort.clinical_columns import RESPONDERS

FALL = 0.5  # of M-protein or light chains, at least (IMWG's partial response; the paper)
MARKERS = {
    "m_protein": ("m_protein_before_g_l", "m_protein_after_g_l", "M-protein"),
    "flc": ("flc_before_mg_l", "flc_after_mg_l", "light chains"),
}
NAMES = {"m_protein": "M-protein", "flc": "light chains", "category": "category"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One cycle's response: True, False, or None where nothing tells. basis: its source with the value; notes."""

    responds: bool | None
    source: str = ""
    basis: str = ""
    notes: tuple[str, ...] = ()


def judge(row: ClinicalRow, sources: Sequence[str]) -> Judged:
    """The first of the sources that tells. Where another one says otherwise, a note says so; it changes nothing."""
    notes: list[str] = []
    told = [(source, *answer) for source in sources if (answer := _answer(row, source, notes)) is not None]
    if not told:
        return Judged(responds=None, notes=tuple(notes))
    source, responds, basis = told[0]
    against = [other for _, says, other in told[1:] if says is not responds]
    if against:
        notes.append(f"Row {row.number}: {basis} is taken, against {' and '.join(against)}.")
    return Judged(responds=responds, source=NAMES[source], basis=basis, notes=tuple(notes))


def _answer(row: ClinicalRow, source: str, notes: list[str]) -> tuple[bool, str] | None:
    """(whether it says response, in words) of one source; None where it is silent."""
    return _category(row) if source == "category" else _marker(row, source, notes)


def _marker(row: ClinicalRow, source: str, notes: list[str]) -> tuple[bool, str] | None:
    name_before, name_after, words = MARKERS[source]
    before, after = row.number_of(name_before), row.number_of(name_after)
    if before is None or after is None:
        return None
    if before <= 0:
        notes.append(f"Row {row.number}: {words} was 0 before therapy, so its fall cannot be told.")
        return None
    # after <= before / 2 and not 1 - after / before >= 0.5, which rounding may miss at exactly one half.
    change = 100.0 * (after - before) / before
    return after <= before * (1.0 - FALL), f"{words} ({change:+.0f} %)"


def _category(row: ClinicalRow) -> tuple[bool, str] | None:
    word = row.text_of("response")
    if word is None:
        return None
    source = row.text_of("response_source")
    return word in (*RESPONDERS, "responder"), f"{word} ({source})" if source else word
