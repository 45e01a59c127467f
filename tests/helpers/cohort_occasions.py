"""Versions of a cohort's report for the tests of its DICOM objects."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import srtree
from pydicom import Dataset
from reportlab.pdfgen.canvas import Canvas

from analysis.cohort.values import Estimate
from dicom_io.cohort_objects import cohort_objects
from dicom_io.cohort_occasion import CohortOccasion, predecessors
from dicom_io.writing import save

MADE_AT = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))  # the last day of February in UTC
NAME = "Kohorte^Würzburg"
LONG_NAME = "event-rate ratio of OS, TLG[FDG medullary concordant], high over low, split at the median"
ESTIMATES = (
    Estimate(name=LONG_NAME, value=3.9, low=1.4, high=11.7, p=0.0081, n=24, method="exact conditional interval"),
    Estimate(
        name="difference of SUVmean[FDG medullary concordant]", value=-0.9, low=-1.8, high=-0.01, unit="g/ml{SUVbw}", n=24
    ),
    Estimate(name="median OS", value=198.0, unit="d", n=22),
)


def pdf(words: str = "a cohort", *, odd: bool = False) -> bytes:
    """A report of one page, of an even or odd number of bytes."""
    stream = io.BytesIO()
    canvas = Canvas(stream, invariant=1)
    canvas.drawString(72, 720, words)
    canvas.save()
    made = stream.getvalue()
    return made + b"\n" * ((len(made) + odd) % 2)


def occasion(**changes: Any) -> CohortOccasion:
    words = {"patient_id": "DUET-COHORT", "patient_name": NAME, "version": 1, "made_at": MADE_AT, "patients": 22, "cycles": 24}
    return CohortOccasion(**{**words, "software": "0.1.0", **changes})


def made(**changes: Any) -> dict[str, Dataset]:
    """The first version."""
    return cohort_objects(pdf(), ESTIMATES, occasion(**changes))


def next_version(older: dict[str, Dataset], version: int = 2) -> dict[str, Dataset]:
    at = MADE_AT + timedelta(days=version)
    later = occasion(version=version, made_at=at, predecessors=predecessors(older.values()))
    return cohort_objects(pdf(f"version {version}"), ESTIMATES, later)


def saved(folder: Path, objects: dict[str, Dataset]) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.dcm" for name in objects}
    for name, ds in objects.items():
        save(ds, paths[name])
    return paths


def told(report: Dataset) -> Iterator[dict[str, Any]]:
    """Each estimate by nothing but pydicom: concept > number or text; the value itself stands under "value"."""
    container = next(x for x in srtree.children(report) if srtree.concept(x) == "Estimates of the cohort")
    for item in srtree.children(container):
        found: dict[str, Any] = {}
        for child in srtree.children(item):
            if child.ValueType == "NUM":
                code = child.ConceptNameCodeSequence[0].CodeValue
                name = "value" if code.startswith("F") else srtree.concept(child)
                found[name] = float(child.MeasuredValueSequence[0].FloatingPointValue)
                found[f"unit of {name}"] = unit_of(child)
            else:
                found[srtree.concept(child)] = str(child.TextValue)
        yield found


def unit_of(item: Dataset) -> str:
    code = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
    return str(code.get("CodeValue") or code.LongCodeValue)
