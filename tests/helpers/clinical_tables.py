"""Clinical tables and features files of few rows, written where a test wants them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from analysis.cohort.clinical import Clinical, read_clinical
from analysis.cohort.pairs import PairFeatures

TODAY = date(2026, 1, 1)


def csv_file(folder: Path, text: str, name: str = "clinical.csv") -> Path:
    """The lines of a text, each without the blanks around it, as a file."""
    path = folder / name
    path.write_text("\n".join(line.strip() for line in text.strip().splitlines()) + "\n", encoding="utf-8")
    return path


def clinical(folder: Path, text: str) -> Clinical:
    return read_clinical(csv_file(folder, text), TODAY)


def pair(patient: str, day: str, later: str = "", **features: float) -> PairFeatures:
    """A pair of one patient; `later` is the day of the PentixaFor study where it is another."""
    return PairFeatures(
        patient_id=patient,
        fdg_date=date.fromisoformat(day),
        pentixafor_date=date.fromisoformat(later or day),
        features=features or {"SUVmean[FDG medullary concordant]": 2.0},
    )
