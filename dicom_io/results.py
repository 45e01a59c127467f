"""Every file of a pair: the DICOM objects, the picture, results.json, lesions.csv, features.csv, and NIfTI on request.

Each file appears whole or not at all; results.json comes last, so where it lies the case is complete.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from analysis.values import Anatomy, Concordance, Lesion, PatientAnalysis, Tracer
from dicom_io.borders import border_cells, border_columns, borders, thresholds
from dicom_io.capture import write_fusion
from dicom_io.derived import STANDARD_OBJECTS, Case, Kind, ObjectSettings, models, plain
from dicom_io.nifti import write_nifti
from dicom_io.seg import segment_of, write_segs
from dicom_io.sr import write_pair_sr, write_tracer_sr
from dicom_io.studies import DualTracerPair
from dicom_io.writing import save

LESION_COLUMNS = (
    "id",
    "tracer",
    "site",
    "concordance",
    "comparable",
    "certain",
    "match",
    "region",
    "bone_fraction",
    "bone_low",
    "bone_high",
    "site_certain",
    "overlap",
    "lesion_overlap",
    "overlap_low",
    "overlap_high",
    "volume_ml",
    "suv_mean",
    "suv_max",
    "suv_peak",
    "tlg_g",
    "tlc_g",
    "centroid_x_mm",
    "centroid_y_mm",
    "centroid_z_mm",
    "voxels",
    "confidence",
    *border_columns(),
    "not_run",
    "tracking_uid",
    "seg_sop_instance_uid",
    "segment",
)

# Every name that write_case has for a file; all others in a folder are somebody else's.
_RESULT = re.compile(
    r"(seg|sr)-(fdg|pentixafor|pair)(-\d+)?\.dcm|fusion\.(dcm|png)|(lesions|features)\.csv|(results|anatomy)\.json"
    r"|(suv|lesions|anatomy)-(fdg|pentixafor)\.nii\.gz|transform-pentixafor-to-fdg\.h5"
)


def is_result(name: str) -> bool:
    """Whether a file of this name is one of a pair's results."""
    return _RESULT.fullmatch(name) is not None


def write_case(
    folder: Path,
    pair: DualTracerPair,
    analysis: PatientAnalysis,
    *,
    nifti: bool = False,
    objects: ObjectSettings = STANDARD_OBJECTS,
) -> list[Path]:
    """Writes all files of the pair into `folder` and returns them; an earlier run's files go first.

    Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    with ThreadPoolExecutor(1) as pool:
        fusion = pool.submit(write_fusion, pair, analysis)  # numpy's work, beside the other objects, which are Python's
        made = measured_objects(pair, analysis, objects)
        written = [_atomic(folder / f"{name}.dcm", _saver(ds)) for name, ds in made.items()]
        made[Kind.FUSION.stem], picture = fusion.result()
    written.append(_atomic(folder / f"{Kind.FUSION.stem}.dcm", _saver(made[Kind.FUSION.stem])))
    written.append(_atomic(folder / "fusion.png", lambda path: path.write_bytes(picture)))
    if nifti:
        written += _write_nifti(folder, analysis)
    results = make_results(pair, analysis, made, objects)
    written.append(_atomic(folder / "lesions.csv", _text(lesions_csv(results["lesions"], results["not_run"]))))
    written.append(_atomic(folder / "features.csv", _text(features_csv(pair, results))))
    written.append(_atomic(folder / "results.json", _text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")))
    return written


def _clear(folder: Path) -> None:
    """Takes away what would be wrong beside new files: an earlier run's, and what a crash left half done."""
    results = sorted((p for p in folder.iterdir() if is_result(p.name)), key=lambda p: p.name != "results.json")
    for path in [*results, *folder.glob(".*.part")]:
        path.unlink(missing_ok=True)
    for path in folder.glob(".nifti-*"):
        shutil.rmtree(path)


def measured_objects(
    pair: DualTracerPair, analysis: PatientAnalysis, settings: ObjectSettings = STANDARD_OBJECTS
) -> dict[str, Dataset]:
    """The segmentations and reports, in the order in which they refer to each other."""
    segs = {tracer: write_segs(pair, analysis, tracer, objects=settings) for tracer in Tracer}
    objects: dict[str, Dataset] = {}
    for tracer, found in segs.items():
        for part, seg in enumerate(found):
            objects[seg_name(tracer, part)] = seg
    for tracer in Tracer:
        objects[Kind.sr(tracer).stem] = write_tracer_sr(pair, analysis, tracer, segs[tracer], objects=settings)
    objects[Kind.SR_PAIR.stem] = write_pair_sr(pair, analysis, segs, objects=settings)
    return objects


def seg_name(tracer: Tracer, part: int) -> str:
    """The SEG's file name without ending; from the second part on it bears a number."""
    stem = Kind.seg(tracer).stem
    return stem if part == 0 else f"{stem}-{part + 1}"


def make_results(
    pair: DualTracerPair, analysis: PatientAnalysis, objects: Mapping[str, Dataset], settings: ObjectSettings = STANDARD_OBJECTS
) -> dict[str, Any]:
    """The content of results.json. A value that is undefined is None, never 0. Nothing in it depends on the clock."""
    case = Case(pair=pair, analysis=analysis, objects=settings)
    registration = plain(analysis.aligned.quality)
    registration.pop("seconds")
    return {
        "patient_id": pair.patient.patient_id,
        "pair": {
            "fdg_study": pair.fdg.study.study_instance_uid,
            "pentixafor_study": pair.pentixafor.study.study_instance_uid,
            "gap_days": pair.gap_days,
            "uid": pair.uid,
        },
        "software": plain(analysis.software),
        "models": plain(models(analysis)),
        "settings": {**plain(analysis.settings), "objects": plain(settings)},
        "verdict": analysis.verdict.value,
        "quality": plain(analysis.findings),
        "registration": registration,
        "anatomy": {tracer.value: _anatomy(analysis.anatomy[tracer]) for tracer in Tracer},
        "objects": {name: _object(ds) for name, ds in objects.items()},
        "sites": [_site(case, index) for index in range(len(analysis.matches))],
        "lesions": [_lesion(case, x, objects) for tracer in Tracer for x in analysis.lesions[tracer].lesions],
        "not_run": {tracer.value: why for tracer, why in analysis.not_run.items()},
        "thresholds": thresholds(analysis),
        "features": plain(analysis.features),
        "readings": plain(analysis.readings),
    }


def _anatomy(anatomy: Anatomy) -> dict[str, Any]:
    """What found the regions of one study; of each its volume and, where it can be told, its confidence."""
    voxels = np.bincount(anatomy.regions.labels.ravel())
    sizes = {name: int(voxels[label]) for label, name in anatomy.regions.names.items() if label < voxels.size and voxels[label]}
    regions = {
        name: {"volume_ml": count * anatomy.regions.grid.voxel_ml, "confidence": anatomy.confidence.get(name)}
        for name, count in sizes.items()
    }
    return {"model": plain(anatomy.model), "confidence": plain(anatomy.confidence), "regions": plain(regions)}


def _object(ds: Dataset) -> dict[str, str]:
    return {
        "sop_class_uid": str(ds.SOPClassUID),
        "sop_instance_uid": str(ds.SOPInstanceUID),
        "series_instance_uid": str(ds.SeriesInstanceUID),
        "study_instance_uid": str(ds.StudyInstanceUID),
    }


def _site(case: Case, index: int) -> dict[str, Any]:
    match = case.analysis.matches[index]
    lesions = [case.analysis.lesions[t].lesions[label - 1].id for t in Tracer for label in match.labels(t)]
    fields = plain(match)
    return {
        "match": match.name,
        "lesions": lesions,
        "concordance": _concordance(match.concordance),
        **{name: fields[name] for name in ("certain", "overlap", "overlap_range", "ratios", "error_mm")},
    }


def _concordance(concordance: Concordance) -> str | None:
    return None if concordance is Concordance.NOT_COMPARABLE else concordance.value


def _lesion(case: Case, lesion: Lesion, objects: Mapping[str, Dataset]) -> dict[str, Any]:
    match = case.analysis.match_of(lesion)
    part, number = segment_of(lesion, case.objects)
    values = {
        "id": lesion.id,
        "tracer": lesion.tracer,
        "site": lesion.site,
        "concordance": _concordance(match.concordance),
        "comparable": match.concordance is not Concordance.NOT_COMPARABLE,
        "certain": match.certain,
        "match": match.name,
        "region": lesion.region,
        "bone_fraction": lesion.bone_fraction,
        **dict(zip(("bone_low", "bone_high"), lesion.bone_range or (None, None), strict=True)),
        "site_certain": lesion.site_certain,
        "overlap": match.overlap,
        "lesion_overlap": match.lesion_overlaps.get(lesion.id),
        **dict(zip(("overlap_low", "overlap_high"), match.overlap_range, strict=True)),
        "volume_ml": lesion.volume_ml,
        "suv_mean": lesion.suv_mean,
        "suv_max": lesion.suv_max,
        "suv_peak": lesion.suv_peak,
        f"{lesion.tracer.burden.lower()}_g": lesion.burden_g,
        "centroid_mm": lesion.centroid_mm,
        "voxels": lesion.voxels,
        "confidence": lesion.confidence,
        "thresholds": borders(lesion.borders, lesion.tracer),
        "tracking_uid": case.tracking_uid(lesion),
        "seg_sop_instance_uid": str(objects[seg_name(lesion.tracer, part)].SOPInstanceUID),
        "segment": number,
    }
    return {name: plain(value) for name, value in values.items()}


def lesions_csv(lesions: Sequence[Mapping[str, Any]], not_run: Mapping[str, str]) -> str:
    """One row a lesion, the values of results.json; what is null there is empty here.

    A tracer whose lesions were not segmented has one row, with its name and the reason in `not_run` and all else empty.
    """
    rows: list[dict[str, Any]] = [{"tracer": tracer, "not_run": why} for tracer, why in not_run.items()]
    for lesion in lesions:
        row = {name: value for name, value in lesion.items() if name not in ("centroid_mm", "thresholds")}
        row |= border_cells(lesion["thresholds"])
        row |= dict(zip(("centroid_x_mm", "centroid_y_mm", "centroid_z_mm"), lesion["centroid_mm"], strict=True))
        rows.append(row)
    return _table(LESION_COLUMNS, rows)


def features_csv(pair: DualTracerPair, results: Mapping[str, Any]) -> str:
    """One row: patient_id, dates (ISO), worst verdict, a column for each feature, value and verdict of each finding.

    quality[NAME] is empty where a finding has no value; the last column holds all findings as results.json has them.
    """
    quality: Sequence[Mapping[str, Any]] = results["quality"]
    row = {
        "patient_id": pair.patient.patient_id,
        "fdg_date": pair.fdg.study.started.date().isoformat(),
        "pentixafor_date": pair.pentixafor.study.started.date().isoformat(),
        "quality": results["verdict"],
        **results["features"],
    }
    for finding in quality:
        row[f"quality[{finding['name']}]"] = finding["value"]
        row[f"verdict[{finding['name']}]"] = finding["verdict"]
    row["findings"] = json.dumps(quality, ensure_ascii=False)
    return _table(list(row), [row])


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()} for row in rows)
    return stream.getvalue()


def _write_nifti(folder: Path, analysis: PatientAnalysis) -> list[Path]:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".nifti-") as name:
        made = write_nifti(Path(name), analysis)
        return [path.replace(folder / path.name) for path in made]


def _saver(ds: Dataset) -> Callable[[Path], object]:
    return lambda path: save(ds, path)


def _text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content, encoding="utf-8", newline="")


def _atomic(path: Path, write: Callable[[Path], object]) -> Path:
    """Lets `write` fill a temporary file beside `path`, brings it to the disk and gives it its name."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
