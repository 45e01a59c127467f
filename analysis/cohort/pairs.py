"""The features of many pairs: from features.csv, or from folders that `duet analyse` or a node wrote."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from analysis.cohort.values import NOTHING
from analysis.errors import BadSettings

KEYS = ("patient_id", "fdg_date", "pentixafor_date")
csv.field_size_limit(10_000_000)  # the column "findings" holds sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLesion:
    """One lesion as results.json has it. overlap: the largest with any lesion of the other tracer; None where not compared.

    borders: definition > (volume in ml, SUVmean); either may be None.
    """

    tracer: str
    bone_fraction: float
    overlap: float | None
    comparable: bool
    volume_ml: float
    suv_mean: float
    suv_max: float
    borders: Mapping[str, tuple[float | None, float | None]] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFeatures:
    """One pair's features. features: bracket name > value, NaN where undefined. lesions: None where only features are known.

    readings: the same features by other definitions, name > definition > value. warnings: its quality findings that are
    not ok, in sentences.
    """

    patient_id: str
    fdg_date: date
    pentixafor_date: date
    features: Mapping[str, float]
    lesions: tuple[PairLesion, ...] | None = None
    readings: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: NOTHING)
    settings: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    verdict: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def last(self) -> date:
        """The day of the later scan."""
        return max(self.fdg_date, self.pentixafor_date)


def read_pairs(path: Path) -> tuple[PairFeatures, ...]:
    """The pairs of a features.csv of any number of rows, or of all result folders below a folder.

    Raises BadSettings with file, row and column; OSError.
    """
    if path.is_dir():
        return read_folders(sorted(found.parent for found in path.rglob("features.csv")), path)
    return _unique(path, _rows(path))


def read_folders(folders: Sequence[Path], where: Path) -> tuple[PairFeatures, ...]:
    """The pairs of folders that each hold one pair's results; lesions too, where results.json is there. Raises BadSettings."""
    if not folders:
        raise BadSettings(f"{where}: no features.csv in this folder or below; name the folder of the results.")
    return _unique(where, (pair for folder in folders for pair in _folder(folder)))


def _folder(folder: Path) -> list[PairFeatures]:
    rows = list(_rows(folder / "features.csv"))
    results = folder / "results.json"
    return [_with_lesions(rows[0], results)] if len(rows) == 1 and results.is_file() else rows


def _unique(where: Path, pairs: Iterator[PairFeatures]) -> tuple[PairFeatures, ...]:
    found: dict[tuple[str, date, date], PairFeatures] = {}
    for pair in pairs:
        key = (pair.patient_id, pair.fdg_date, pair.pentixafor_date)
        if key in found:
            raise BadSettings(f"{where}: the pair of {pair.fdg_date} and {pair.pentixafor_date} of one patient is there twice.")
        found[key] = pair
    return tuple(found.values())


def _rows(path: Path) -> Iterator[PairFeatures]:
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        head = next(reader, [])
        missing = [key for key in KEYS if key not in head]
        if missing:
            raise BadSettings(f"{path}, row 1: the column {missing[0]!r} is missing; a features.csv has it.")
        doubled = next((name for place, name in enumerate(head) if name in head[:place]), None)
        if doubled is not None:
            raise BadSettings(f"{path}, row 1: column {doubled!r} is there twice.")
        for number, cells in enumerate(reader, start=2):
            if any(cell.strip() for cell in cells):
                yield _pair(f"{path}, row {number}", head, cells)
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} is no CSV file in UTF-8 ({error}).") from None


def _pair(where: str, head: Sequence[str], cells: Sequence[str]) -> PairFeatures:
    if len(cells) != len(head):
        raise BadSettings(f"{where}: {len(cells)} cells, but {len(head)} columns.")
    row = dict(zip(head, cells, strict=True))
    if not row["patient_id"].strip():
        raise BadSettings(f"{where}, column patient_id: it is empty, and required.")
    features = {name: _value(where, name, cell) for name, cell in row.items() if is_feature(name)}
    return PairFeatures(
        patient_id=row["patient_id"].strip(),
        fdg_date=_day(where, "fdg_date", row["fdg_date"]),
        pentixafor_date=_day(where, "pentixafor_date", row["pentixafor_date"]),
        features=features,
        verdict=row.get("quality", ""),
        warnings=_warnings(where, row.get("findings", "")),
    )


def is_feature(name: str) -> bool:
    """Whether a column of features.csv is a number of the images, not a key or a quality finding."""
    return name not in (*KEYS, "quality", "findings") and not name.startswith(("quality[", "verdict["))


def _value(where: str, name: str, cell: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        raise BadSettings(f"{where}, column {name}: {cell!r} is no number; leave it empty where it is undefined.") from None
    if math.isinf(value):
        raise BadSettings(f"{where}, column {name}: {cell!r} is no finite number; leave it empty where it is undefined.")
    return value


def _day(where: str, name: str, cell: str) -> date:
    try:
        return date.fromisoformat(cell.strip())
    except ValueError:
        raise BadSettings(f"{where}, column {name}: {cell!r} is no date like 2024-03-31.") from None


def _warnings(where: str, cell: str) -> tuple[str, ...]:
    if not cell.strip():
        return ()
    try:
        return tuple(f"{f['name']}: {f['message']}" for f in json.loads(cell) if f["verdict"] != "ok")
    except (ValueError, TypeError, KeyError):
        raise BadSettings(f"{where}, column findings: it does not hold what duet writes there.") from None


def _with_lesions(pair: PairFeatures, path: Path) -> PairFeatures:
    """The pair with its lesions, as results.json of the same folder has them."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        lesions = None if results["not_run"] else tuple(_lesion(lesion) for lesion in results["lesions"])
        return PairFeatures(
            patient_id=pair.patient_id,
            fdg_date=pair.fdg_date,
            pentixafor_date=pair.pentixafor_date,
            features=pair.features,
            lesions=lesions,
            readings=results.get("readings", {}),
            settings=results["settings"]["measurement"],
            verdict=pair.verdict,
            warnings=pair.warnings,
        )
    except (ValueError, TypeError, KeyError) as error:
        raise BadSettings(f"{path} does not hold what duet writes there ({type(error).__name__}: {error}).") from None


def _lesion(lesion: Mapping[str, Any]) -> PairLesion:
    return PairLesion(
        tracer=lesion["tracer"],
        bone_fraction=lesion["bone_fraction"],
        overlap=lesion.get("lesion_overlap", lesion["overlap"]),
        comparable=lesion["comparable"],
        volume_ml=lesion["volume_ml"],
        suv_mean=lesion["suv_mean"],
        suv_max=lesion["suv_max"],
        borders={name: (border["volume_ml"], border["suv_mean"]) for name, border in lesion["thresholds"].items()},
    )
