"""All DICOM objects of a small case on disk, and what the reading programs of others say of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, dcmread

from analysis.values import PatientAnalysis, Tracer
from dicom_io.capture import capture
from dicom_io.derived import STANDARD_OBJECTS, Case, Kind, ObjectSettings
from dicom_io.results import seg_name
from dicom_io.seg import write_segs
from dicom_io.sr import write_pair_sr, write_tracer_sr
from dicom_io.studies import DualTracerPair

# dciodvfy of 2022 knows neither the label map (2024) nor its SOP class in a reference.
LABELMAP_ALARMS = (
    "Error - Information Object Not found",
    "Error - SegmentNumber not monotonically increasing from one by one",
    "Error - Shall not be present for Referenced SOP Class that is not segmentation - attribute <ReferencedSegmentNumber>",
)


def build(pair: DualTracerPair, analysis: PatientAnalysis, settings: ObjectSettings = STANDARD_OBJECTS) -> dict[str, Dataset]:
    """Every object of the case, the picture with two empty frames: its drawing is tested elsewhere."""
    segs = {t: write_segs(pair, analysis, t, objects=settings) for t in Tracer}
    made = {seg_name(t, part): ds for t in Tracer for part, ds in enumerate(segs[t])}
    for tracer in Tracer:
        made[Kind.sr(tracer).stem] = write_tracer_sr(pair, analysis, tracer, segs[tracer], objects=settings)
    made[Kind.SR_PAIR.stem] = write_pair_sr(pair, analysis, segs, objects=settings)
    made[Kind.FUSION.stem] = capture(Case(pair=pair, analysis=analysis), np.zeros((2, 8, 8, 3), np.uint8))
    return made


def one_of_each(pair: DualTracerPair, analysis: PatientAnalysis) -> dict[str, Dataset]:
    """A SEG, a report and a picture, for what is the same in all objects of a kind."""
    segs = {Tracer.FDG: write_segs(pair, analysis, Tracer.FDG)}
    picture = capture(Case(pair=pair, analysis=analysis), np.zeros((2, 8, 8, 3), np.uint8))
    return {
        "seg-fdg": segs[Tracer.FDG][0],
        "sr-fdg": write_tracer_sr(pair, analysis, Tracer.FDG, segs[Tracer.FDG]),
        "fusion": picture,
    }


def write(folder: Path, objects: dict[str, Dataset]) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.dcm" for name in objects}
    for name, ds in objects.items():
        ds.save_as(paths[name], enforce_file_format=True)
    return paths


def errors(path: Path, known: Iterable[str] = ()) -> list[str]:
    """What dciodvfy calls an error, without the alarms that are known to be false."""
    told = subprocess.run(["dciodvfy", path], capture_output=True, check=False).stderr.decode("latin-1")
    return [x for x in told.splitlines() if x.startswith("Error") and not x.startswith(tuple(known))]


def set_errors(paths: Iterable[Path]) -> list[str]:
    """What dcentvfy finds inconsistent in a set of objects."""
    told = subprocess.run(["dcentvfy", *map(str, paths)], capture_output=True, check=False).stderr.decode("latin-1")
    return [line for line in told.splitlines() if line.startswith("Error")]


def dsrdump(path: Path) -> tuple[str, str]:
    """dcmtk's text of a report, and what it had to warn of."""
    told = subprocess.run(["dsrdump", path], capture_output=True, check=True)
    return told.stdout.decode("latin-1"), told.stderr.decode("latin-1")


def dcmqi_labels(path: Path, folder: Path) -> tuple[sitk.Image, np.ndarray]:
    """dcmqi's image of a SEG whose segments do not overlap."""
    folder.mkdir(parents=True)
    command = ["segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder, "--mergeSegments"]
    subprocess.run(command, check=True, capture_output=True)
    image = sitk.ReadImage(str(folder / "1.nrrd"))
    return image, sitk.GetArrayFromImage(image)


def dcmqi_report(path: Path, file: Path) -> list[dict[str, object]]:
    """The measurement groups of a report as dcmqi reads them."""
    subprocess.run(["tid1500reader", "--inputDICOM", path, "--outputMetadata", file], check=True, capture_output=True)
    found: list[dict[str, object]] = json.loads(file.read_text(encoding="utf-8"))["Measurements"]
    return found


def stored(path: Path, tag: int) -> bytes | None:
    """An element's bytes as they lie in the file."""
    raw = dcmread(path).get_item(tag)
    return None if raw is None else bytes(raw.value or b"")


def character_set(path: Path) -> str:
    """All values, as stored (pydicom decodes this element at once)."""
    found = dcmread(path).get("SpecificCharacterSet", "")
    return found if isinstance(found, str) else "\\".join(found)
