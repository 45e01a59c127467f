"""Sound objects to be broken: tiny studies of each maker and kind, and the first slices of real ones where they are."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from enhanced_scans import EnhancedSpec, ct_objects, pet_objects
from factories import make_case
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    PositronEmissionTomographyImageStorage,
    RLELossless,
)

from analysis.values import Body, Grid, PetCt, Tracer, Unit, Volume
from dicom_io.seg import write_segs
from dicom_io.sr import write_tracer_sr
from dicom_io.synthetic import write_study
from dicom_io.synthetic_headers import Maker, StudySpec

# In every object, so that a sentence with the patient's name is seen.
NAME = "Zzyzxon^Quirina"
SLICES = 4


@dataclass(frozen=True, kw_only=True)
class Base:
    """Sound files, by name. kind: "study" (PET and CT), "pet" (headers alone), "seg" or "sr"."""

    name: str
    kind: str
    files: dict[str, bytes]


def synthetic(folder: Path) -> list[Base]:
    """Studies of every maker, tracer, unit and transfer syntax, without anything from outside."""
    found = [_study(folder, maker, tracer) for maker in Maker for tracer in Tracer]
    siemens, ge = found[2], found[0]
    variants: dict[str, Callable[[Dataset], None]] = {
        "decay-none": lambda ds: _set(ds, DecayCorrection="NONE", CorrectedImage=["ATTN", "SCAT"]),
        "decay-admin": lambda ds: _set(ds, DecayCorrection="ADMIN"),
        "suv-bw": lambda ds: _set(ds, Units="GML", SUVType="BW"),
        "suv-lbm": lambda ds: _set(ds, Units="GML", SUVType="LBM"),
        "suv-bsa": lambda ds: _set(ds, Units="CM2ML"),
        "late-series-time": lambda ds: _set(ds, SeriesTime="103000"),
        "clock-alone": _clock_alone,
    }
    found += [_variant(siemens, f"siemens {name}", change) for name, change in variants.items()]
    found += [_variant(ge, "ge implicit", _as_it_is, ImplicitVRLittleEndian)]
    syntaxes = {"deflate": DeflatedExplicitVRLittleEndian, "jpeg-ls": JPEGLSLossless, "rle": RLELossless}
    found += [_study(folder / name, Maker.GE, Tracer.FDG, syntax, name) for name, syntax in syntaxes.items()]
    return found + [_enhanced(name, spec) for name, spec in ENHANCED.items()]


def real(shared: Path) -> list[Base]:
    """The first slices of the real pair and of the reference objects; vendors' headers; SEG and SR of other makers."""
    found = []
    for tracer, series in (("fdg", ("pet", "ct")), ("pentixafor", ("pet", "ct")), ("fdg", ("nac", "ct"))):
        found.append(_cut(shared / "pair1" / tracer, series, f"pair1 {tracer} {series[0]}"))
    for folder in sorted((shared / "suv" / "dro").glob("DRO_*")):
        files = {f.name: _named(f.read_bytes()) for f in sorted((folder / "PT").iterdir())[:SLICES]}
        found.append(Base(name=folder.name, kind="study", files=files))
    for file in sorted((shared / "suv" / "headers").glob("*-instances.json")):
        found.append(Base(name=file.stem, kind="pet", files=dict(_headers(json.loads(file.read_text())))))
    return found + list(_documents(shared / "seg_sr"))


def _study(folder: Path, maker: Maker, tracer: Tracer, syntax: UID = ExplicitVRLittleEndian, more: str = "") -> Base:
    patient = f"{maker.name}-{more or 'PLAIN'}"
    spec = StudySpec(maker=maker, patient_name=NAME, patient_id=patient, seed=patient, transfer_syntax=syntax)
    place = folder / f"{maker.name}-{tracer.name}"
    files = write_study(tiny(tracer), place, spec)
    name = f"{maker.name.lower()} {tracer}{f' {more}' if more else ''}"
    return Base(name=name, kind="study", files={f.name: f.read_bytes() for f in files})


# True Enhanced PET and CT: all frames in one file, or in two.
ENHANCED = {
    "enhanced FDG": EnhancedSpec(patient_id="E1"),
    "enhanced PentixaFor": EnhancedSpec(patient_id="E2", tracer=Tracer.PENTIXAFOR, series="PET CXCR4", instances=2),
    "enhanced, decay not corrected": EnhancedSpec(patient_id="E3", corrected_to=None, own_slopes=True),
}


def _enhanced(name: str, spec: EnhancedSpec) -> Base:
    study = tiny(spec.tracer)
    objects = pet_objects(study.pet.values, study.pet.grid, spec) + ct_objects(study.ct.values, study.ct.grid, spec)
    for ds in objects:
        ds.PatientName = NAME
    return Base(name=name, kind="study", files={f"{n}.dcm": _bytes(ds) for n, ds in enumerate(objects)})


def tiny(tracer: Tracer) -> PetCt:
    """A body of a few voxels: PET 4 x 8 x 10, CT 5 x 9 x 11 around it."""
    rng = np.random.default_rng(3)
    pet = rng.uniform(0.5, 8.0, (SLICES, 8, 10)).astype(np.float32)
    return PetCt(
        tracer=tracer,
        pet=Volume(grid=_grid((SLICES, 8, 10), 4.0), values=pet, unit=Unit.SUV),
        ct=Volume(grid=_grid((SLICES + 1, 9, 11), 4.0), values=np.full((SLICES + 1, 9, 11), 40, np.float32), unit=Unit.HU),
        body=Body(weight_kg=72.5, height_m=1.75, sex="F"),
        uptake_min=61.0,
    )


def _grid(shape: tuple[int, int, int], step: float) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * step
    affine[:3, 3] = (-20.0, -20.0, 100.0)
    return Grid(shape=shape, affine=affine)


def _set(ds: Dataset, **words: Any) -> None:
    if ds.Modality == "PT":
        for keyword, value in words.items():
            setattr(ds, keyword, value)


def _as_it_is(ds: Dataset) -> None:
    del ds


def _clock_alone(ds: Dataset) -> None:
    if ds.Modality == "PT":
        del ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime


def _variant(base: Base, name: str, change: Callable[[Dataset], None], syntax: UID = ExplicitVRLittleEndian) -> Base:
    files = {}
    for file, content in base.files.items():
        ds = dcmread(io.BytesIO(content))
        change(ds)
        ds.file_meta.TransferSyntaxUID = syntax
        files[file] = _bytes(ds)
    return Base(name=name, kind="study", files=files)


def _bytes(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def _named(content: bytes) -> bytes:
    ds = dcmread(io.BytesIO(content))
    ds.PatientName = NAME
    return _bytes(ds)


def _cut(folder: Path, series: tuple[str, str], name: str) -> Base:
    """So many neighbouring slices of the PET, and those of the CT around them."""
    pet = sorted((dcmread(f) for f in (folder / series[0]).iterdir()), key=_height)[20 : 20 + SLICES]
    low, high = _height(pet[0]) - 8, _height(pet[-1]) + 8
    near = [dcmread(f, stop_before_pixels=True) for f in sorted((folder / series[1]).iterdir())]
    ct = [dcmread(str(ds.filename)) for ds in near if low <= _height(ds) <= high]
    for ds in (*pet, *ct):
        ds.PatientName = NAME
    for ds in pet:
        ds.NumberOfSlices = SLICES
    files = {f"pet-{k}.dcm": _bytes(ds) for k, ds in enumerate(pet)} | {f"ct-{k}.dcm": _bytes(ds) for k, ds in enumerate(ct)}
    return Base(name=name, kind="study", files=files)


def _height(ds: Dataset) -> float:
    return float(ds.ImagePositionPatient[2])


def _headers(rows: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Excerpts of headers as files without pixels, of a class that has none to miss."""
    for n, words in enumerate(rows):
        ds, item = Dataset(), Dataset()
        for keyword, value in words.items():
            if keyword != "PhilipsPETPrivateGroup":
                setattr(item if keyword.startswith("Radio") else ds, keyword, value)
        ds.RadiopharmaceuticalInformationSequence = Sequence([item])
        for offset, keyword in ((0x00, "SUVScaleFactor"), (0x09, "ActivityConcentrationScaleFactor")):
            if words["PhilipsPETPrivateGroup"].get(keyword):
                block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
                block.add_new(offset, "DS", words["PhilipsPETPrivateGroup"][keyword])
        ds.SOPClassUID, ds.Modality, ds.PatientName, ds.PatientID = PositronEmissionTomographyImageStorage, "PT", NAME, "X1"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.5"
        ds.SOPInstanceUID, ds.InstanceNumber = f"1.2.3.4.5.{n + 1}", n + 1
        ds.Rows, ds.Columns, ds.BitsAllocated, ds.PixelData = 1, 1, 16, b"\1\0"
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.BitsStored, ds.HighBit = 16, 15
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
        yield f"{n}.dcm", _bytes(ds)


def _documents(folder: Path) -> Iterator[Base]:
    for path in sorted(folder.rglob("*.dcm")):
        if path.stat().st_size > 200_000:
            continue
        ds = dcmread(path, force=True)
        kind = {"SEG": "seg", "SR": "sr"}.get(str(ds.get("Modality", "")))
        if kind is not None:
            yield Base(name=str(path.relative_to(folder)), kind=kind, files={path.name: path.read_bytes()})


def written(folder: Path) -> list[Base]:
    """SEG and SR of duet's own."""
    pair, analysis = make_case(folder)
    (seg,) = write_segs(pair, analysis, Tracer.FDG)
    report = write_tracer_sr(pair, analysis, Tracer.FDG, [seg])
    return [
        Base(name="duet seg", kind="seg", files={"seg.dcm": _bytes(seg)}),
        Base(name="duet sr", kind="sr", files={"sr.dcm": _bytes(report)}),
    ]
