"""One case of the fuzz: a sound object, broken by a seed, read in every way that the node reads it, and judged.

What is asked: it works, or a child of Rejected says why in one sentence without the patient's name; never another
exception, never a number that the header as it stands does not allow (suv_oracle).
"""

from __future__ import annotations

import io
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import suv_oracle
from corpus import NAME, Base
from mutations import Broken, broken
from pydicom import Dataset, dcmread

from analysis.errors import NotQuantifiable, Rejected
from dicom_io.contents import contents
from dicom_io.header_findings import header_findings
from dicom_io.headers import group, read_folder
from dicom_io.inspection import suv_report
from dicom_io.pixels import stored_slices
from dicom_io.seg_reader import read_seg
from dicom_io.slices import slice_grid
from dicom_io.sr_reader import read_sr
from dicom_io.studies import DualTracerPair, Instance, Series, Study, TracerStudy
from dicom_io.suv import SuvConversion, suv_conversion
from dicom_io.tracers import identify, recognise
from dicom_io.volumes import load

LONGEST_SENTENCE = 4000
# Changes of anything else must leave every factor as it was.
# fmt: off
RESTS_ON = {
    "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence",
    "bytes", "Units", "DecayCorrection", "CorrectedImage", "AttenuationCorrectionMethod", "SeriesType", "ImageType",
    "PatientWeight", "PatientSize", "PatientSex", "SUVType", "RadiopharmaceuticalInformationSequence", "RescaleSlope",
    "RescaleIntercept", "SeriesDate", "SeriesTime", "SeriesDateTime", "AcquisitionDate", "AcquisitionTime",
    "AcquisitionDateTime", "StudyDate", "ContentDate", "FrameReferenceTime", "ActualFrameDuration",
    "DecayCorrectionDateTime", "TimezoneOffsetFromUTC", "Manufacturer", "Modality", "SOPClassUID", "SOPInstanceUID",
    "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "SeriesDescription", "SpecificCharacterSet",
    "NumberOfFrames", "VolumeBasedCalculationTechnique",
}
# fmt: on
# fmt: off
PIXELS = {
    "bytes", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PhotometricInterpretation", "PixelPaddingValue", "NumberOfFrames", "PlanarConfiguration",
}
# fmt: on


class ViolationError(Exception):
    """The case is not as it must be."""


@dataclass(kw_only=True)
class Case:
    """What came of one case. ends: stage > "ok" or the reason; violation: "" where all is as it must be. seconds: of a core."""

    base: str
    seed: int
    changes: tuple[str, ...] = ()
    ends: dict[str, str] = field(default_factory=dict)
    violation: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.base} seed {self.seed}: {'; '.join(self.changes)}\n    {self.violation}"


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A base on disk, and what it gave unbroken: factor and decoded pixels of each PET file."""

    base: Base
    folder: Path
    factors: dict[str, float]
    pixels: dict[str, np.ndarray]
    partner: TracerStudy | None = None


def place_of(instance: Instance) -> str:
    """The file's name, and of a multi-frame file the frame."""
    return instance.path.name if instance.frame is None else f"{instance.path.name}#{instance.frame}"


def sound(base: Base, folder: Path) -> Sound:
    folder.mkdir(parents=True)
    for name, content in base.files.items():
        (folder / name).write_bytes(content)
    factors: dict[str, float] = {}
    pixels: dict[str, np.ndarray] = {}
    partner = None
    if base.kind in {"study", "pet"}:
        study = group(read_folder(folder)[0])[0]
        for series in (s for s in study.series if s.modality == "PT"):
            try:
                conversion = suv_conversion(series)
            except NotQuantifiable:
                continue
            factors |= {place_of(i): f for i, f in zip(series.instances, conversion.factors, strict=True)}
            pixels |= {place_of(series.instances[k]): stored for k, stored in stored_slices(series)}
        partner = _recognised(study)
    return Sound(base=base, folder=folder, factors=factors, pixels=pixels, partner=partner)


def _recognised(study: Study) -> TracerStudy | None:
    try:
        return recognise(study)
    except Rejected:
        return None


def run(what: Sound, seed: int, folder: Path) -> Case:
    """Break, read, judge. folder: a new one, which is left to the caller."""
    case = Case(base=what.base.name, seed=seed)
    files = _broken_files(what, seed, folder)
    case.changes = tuple(f"{name} {change}" for name, one in files.items() for change in one.changes)
    began = time.process_time()
    try:
        for stage, work in _stages(what, folder, files):
            case.ends[stage] = _end(work)
    except Exception as error:  # noqa: BLE001  whatever else is raised is what the fuzz looks for
        case.violation = f"{stage}: {type(error).__name__}: {error}\n{''.join(_own_frames(error))}"
    case.seconds = time.process_time() - began
    return case


def _own_frames(error: Exception) -> list[str]:
    """Where in our code it was."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    return traceback.format_list(frames[-4:])


def _broken_files(what: Sound, seed: int, folder: Path) -> dict[str, Broken]:
    """The same change in every PET file, in every file, or in one; the others are linked as they are."""
    rng = random.Random(f"{what.base.name} {seed}")
    names = sorted(what.base.files)
    measured = {name.partition("#")[0] for name in what.factors}
    pets = [name for name in names if name in measured] or names
    chosen = rng.choices((pets, names, [rng.choice(names)]), (50, 10, 40))[0]
    folder.mkdir(parents=True)
    files = {name: broken(what.base.files[name], f"{what.base.name} {seed}") for name in chosen}
    for name in names:
        if name in files:
            (folder / name).write_bytes(files[name].content)
        else:
            os.link(what.folder / name, folder / name)
    return files


def _end(work: Callable[[], Any]) -> str:
    try:
        work()
    except Rejected as error:
        _require_sentence(str(error))
        return error.reason
    return "ok"


def _require_sentence(sentence: str) -> None:
    if not sentence.strip() or not sentence.rstrip().endswith((".", "…")):
        raise ViolationError(f"no sentence: {sentence!r}")
    if "\n" in sentence or len(sentence) > LONGEST_SENTENCE:
        raise ViolationError(f"not one sentence ({len(sentence)} characters): {sentence[:300]!r}")
    if any(part.casefold() in sentence.casefold() for part in NAME.split("^")):
        raise ViolationError(f"the patient's name: {sentence!r}")


def _stages(what: Sound, folder: Path, files: dict[str, Broken]) -> Iterator[tuple[str, Callable[[], Any]]]:
    if what.base.kind in {"seg", "sr"}:
        path = folder / next(iter(what.base.files))
        yield "file", lambda: read_folder(folder)
        yield "document", lambda: read_seg(path) if what.base.kind == "seg" else read_sr(path)
        yield "contents", lambda: contents(path)
        return
    instances, unusable = read_folder(folder)
    yield "files", lambda: [_require_sentence(sentence) for _, sentence in unusable]
    yield "suv report", lambda: suv_report(folder).as_dict()
    studies: list[Study] = []
    yield "group", lambda: studies.extend(group(instances))
    for study in studies:
        for series in study.series:
            yield "grid", lambda series=series: _judge_grid(series)
            if series.modality == "PT":
                yield "tracer", lambda series=series: identify(series)
                yield "suv", lambda series=series: _judge_suv(what, series, files)
        yield "study", lambda study=study: _judge_study(what, recognise(study), files)


def _headers(series: Series) -> list[Dataset]:
    """The series' headers read anew, flattened ones as they are."""
    if any(instance.frame is not None for instance in series.instances):
        return [instance.header for instance in series.instances]
    return [dcmread(io.BytesIO(i.path.read_bytes()), stop_before_pixels=True, force=True) for i in series.instances]


def _judge_suv(what: Sound, series: Series, files: dict[str, Broken]) -> SuvConversion:
    """Every factor must be one that the elements allow; and unchanged where nothing was changed that it rests on."""
    conversion = suv_conversion(series)
    try:
        allowed = suv_oracle.permitted(_headers(series))
    except suv_oracle.RefusalError as refusal:
        raise ViolationError(f"SUV factor {conversion.factor:g} ({conversion.rule}) where there is {refusal}") from None
    for factor, choices in zip(conversion.factors, allowed, strict=True):
        if not any(abs(factor / choice - 1) < 1e-6 for choice in choices if choice > 0):
            raise ViolationError(f"SUV factor {factor!r} ({conversion.rule}) is none of {choices[:6]}")
    changed = {word for one in files.values() for word in one.keywords}
    names = [place_of(instance) for instance in series.instances]
    if not changed & RESTS_ON and not any(len(word) == 8 and word[0] in "0123456789abcdef" for word in changed):
        for name, factor in zip(names, conversion.factors, strict=True):
            if set(names) == set(what.factors) and abs(factor / what.factors[name] - 1) > 1e-9:
                raise ViolationError(f"factor {factor!r} was {what.factors[name]!r}, though SUV does not rest on the change")
    return conversion


def _judge_grid(series: Series) -> None:
    grid = slice_grid(series).grid
    header = _headers(series)[0]
    spacing = [float(x) for x in suv_oracle.word(header, "PixelSpacing").split("\\")]
    if np.abs(np.array(grid.spacing[1:]) / spacing - 1).max() > 1e-6:
        raise ViolationError(f"spacing {grid.spacing} where PixelSpacing is {spacing}")
    if not all(0.05 <= s <= 50 for s in grid.spacing):
        raise ViolationError(f"spacing {grid.spacing} of no scanner")


def _judge_study(what: Sound, study: TracerStudy, files: dict[str, Broken]) -> None:
    """Voxels are the stored values times slope and factor, as they were stored where the pixels' form was not changed."""
    loaded = load(study)
    if not np.isfinite(loaded.pet.values).all() or not np.isfinite(loaded.ct.values).all():
        raise ViolationError("voxels that are no numbers")
    if what.partner is not None:
        header_findings(DualTracerPair(fdg=study, pentixafor=what.partner))
    conversion = suv_conversion(study.pet)
    slopes = [suv_oracle.number(header, "RescaleSlope") for header in _headers(study.pet)]
    for k, (instance, slope) in enumerate(zip(study.pet.instances, slopes, strict=True)):
        name = instance.path.name
        if instance.frame is not None or name not in what.pixels:
            continue
        expected = what.pixels[name] * (slope or np.nan) * conversion.factors[k]
        _judge_voxels(loaded.pet.values[k], expected, files.get(name))


def _judge_voxels(found: np.ndarray, expected: np.ndarray, change: Broken | None) -> None:
    if change is not None and change.keywords & PIXELS:
        return
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-5, atol=1e-6):
        raise ViolationError(f"voxels differ by up to {np.abs(found - expected).max():g} from stored x slope x factor")


def summary(cases: Sequence[Case]) -> dict[str, int]:
    """How the cases ended: the last stage's end, or the violation."""
    counts: dict[str, int] = {}
    for case in cases:
        end = "VIOLATION" if case.violation else next((e for e in case.ends.values() if e != "ok"), "ok")
        counts[end] = counts.get(end, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
