"""What lesions measure by each definition of their border, as results.json and lesions.csv have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.values import Border, PatientAnalysis, Tracer
from dicom_io.derived import plain

COLUMNS = ("fixed", "relative", "liver", "blood pool")  # definitions of a border that lesions.csv has columns for
CELLS = ("suv", "volume_ml", "suv_mean")


def thresholds(analysis: PatientAnalysis) -> dict[str, Any]:
    """Tracer > the definition in force, the references, and all lesions together by each definition; null: not run."""
    found: dict[str, Any] = {}
    for tracer in Tracer:
        lesions = analysis.lesions[tracer]
        found[tracer.value] = (
            None
            if lesions.not_run
            else {
                "in_force": lesions.border or None,
                "references": plain(lesions.references),
                "confidence": lesions.confidence or None,
                "all_lesions": borders(lesions.borders, tracer),
            }
        )
    return found


def borders(found: Mapping[str, Border], tracer: Tracer) -> dict[str, Any]:
    """Definition > its SUV, and volume, SUVmean and burden above it; null where undefined."""
    burden = f"{tracer.burden.lower()}_g"
    return {
        name: plain({"suv": b.suv, "volume_ml": b.volume_ml, "suv_mean": b.suv_mean, burden: b.burden_g})
        for name, b in found.items()
    }


def border_columns() -> tuple[str, ...]:
    """The names of the columns of lesions.csv, such as `volume_ml_blood_pool`."""
    return tuple(_column(cell, name) for name in COLUMNS for cell in (*CELLS, "burden_g"))


def border_cells(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One lesion's borders, as `borders` gives them, by column."""
    cells: dict[str, Any] = {}
    for name, values in found.items():
        cells |= {_column(cell, name): values[cell] for cell in CELLS}
        cells[_column("burden_g", name)] = next(value for key, value in values.items() if key in ("tlg_g", "tlc_g"))
    return cells


def _column(cell: str, name: str) -> str:
    return f"{cell}_{name.replace(' ', '_')}"
