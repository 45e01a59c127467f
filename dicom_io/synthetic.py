"""The phantom as DICOM: each study a PET and a CT series of a chosen maker, in which the reader's SUV is the phantom's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from analysis.values import FloatArray, Grid, PetCt, Tracer
from dicom_io.studies import stable_uid
from dicom_io.synthetic_headers import (
    PHILIPS_BQML_PER_COUNT,
    Maker,
    StudyHeader,
    StudySpec,
    ct_header,
    decimal,
    pet_header,
    set_bed,
    set_times,
)

__all__ = ["Maker", "StudySpec", "write_patient", "write_study"]

# Slices as scanners store them: (header without pixels, stored values).
Slice = tuple[Dataset, npt.NDArray[np.integer[Any]]]


class Patient(Protocol):
    """What is written of a digital patient."""

    @property
    def fdg(self) -> PetCt: ...

    @property
    def pentixafor(self) -> PetCt: ...

    @property
    def truth(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSpec:
    """How both studies of a patient are written; None: chosen by the patient's id. fdg_started: the FDG PET's first bed."""

    makers: Mapping[Tracer, Maker] | None = None
    fdg_started: datetime = datetime(2026, 3, 10, 10, 0)
    days_apart: int | None = None
    transfer_syntax: UID = ExplicitVRLittleEndian
    distractors: bool = False


def write_patient(patient: Patient, folder: Path, spec: PairSpec | None = None) -> dict[str, Path]:
    """Both studies and truth.json below `folder`; returns "fdg", "pentixafor" and "truth" with their paths."""
    spec = spec or PairSpec()
    truth = patient.truth
    patient_id = str(truth["patient_id"])
    chance = int(stable_uid("phantom", patient_id, str(truth["seed"])).rsplit(".", 1)[1])
    makers = spec.makers or _drawn_makers(chance)
    days = 1 + chance % 27 if spec.days_apart is None else spec.days_apart
    word = f"{truth['seed']} {','.join(truth.get('traps', []))} {truth.get('noise')} {truth.get('blur')}"
    base = StudySpec(
        patient_id=patient_id,
        patient_name=f"Phantom^Number {truth['seed']}",
        seed=word,
        started=spec.fdg_started,
        transfer_syntax=spec.transfer_syntax,
        distractors=spec.distractors,
    )
    later = spec.fdg_started + timedelta(days=days, minutes=95)
    specs = {
        Tracer.FDG: replace(base, maker=makers[Tracer.FDG]),
        Tracer.PENTIXAFOR: replace(base, maker=makers[Tracer.PENTIXAFOR], started=later),
    }
    paths = {}
    for study in (patient.fdg, patient.pentixafor):
        name = study.tracer.name.lower()
        paths[name] = folder / name
        write_study(study, folder / name, specs[study.tracer])
        truth = {**truth, f"suv_factor_{name}": StudyHeader(pet_ct=study, spec=specs[study.tracer]).suv_factor}
    paths["truth"] = folder / "truth.json"
    paths["truth"].write_text(json.dumps({**truth, "days_apart": days}, indent=1) + "\n")
    return paths


def write_study(pet_ct: PetCt, folder: Path, spec: StudySpec) -> list[Path]:
    """One study's series below `folder`, a folder each; returns all files."""
    study = StudyHeader(pet_ct=pet_ct, spec=spec)
    series: dict[str, Iterator[Slice]] = {"pet": _pet(study), "ct": _ct(study)}
    if spec.distractors:
        series |= {"nac": _nac(study), "scout": _scout(study), "mip": _mip(study)}
    written = []
    for name, slices in series.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, (header, stored) in enumerate(slices, start=1):
            path = folder / name / f"{name}-{number:04d}.dcm"
            _write(header, stored, path, spec.transfer_syntax)
            written.append(path)
    return written


def _drawn_makers(chance: int) -> dict[Tracer, Maker]:
    makers = list(Maker)
    first, second = (chance // 27) % 3, (chance // 81) % 3
    return {Tracer.FDG: makers[first], Tracer.PENTIXAFOR: makers[second]}


def _write(header: Dataset, stored: npt.NDArray[np.integer[Any]], path: Path, syntax: UID) -> None:
    ds = header
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = meta
    ds.PixelData = np.ascontiguousarray(stored, dtype="<i2" if ds.PixelRepresentation else "<u2").tobytes()
    ds["PixelData"].VR = "OW"
    if syntax == DeflatedExplicitVRLittleEndian:
        meta.TransferSyntaxUID = syntax
    elif syntax != ExplicitVRLittleEndian:
        ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)


def _placed(shared: Dataset, study: StudyHeader, name: str, place: tuple[Grid, int]) -> Dataset:
    """The header of one slice: `place` is the grid and the slice's index in it."""
    grid, k = place
    ds = copy(shared)
    ds.SOPInstanceUID = study.uid(name, str(k))
    # GE numbers its slices from the head down.
    ds.InstanceNumber = grid.shape[0] - k if study.spec.maker is Maker.GE else k + 1
    corner = grid.to_world((k, 0, 0))
    ds.ImagePositionPatient = [decimal(round(float(c), 6)) for c in corner]
    ds.SliceLocation = decimal(round(float(corner[2]), 4))
    return ds


def _ct(study: StudyHeader) -> Iterator[Slice]:
    ct = study.pet_ct.ct
    shared = ct_header(study)
    for k in range(ct.grid.shape[0]):
        ds = _placed(shared, study, "ct", (ct.grid, k))
        yield ds, np.clip(np.rint(ct.values[k]) + 1024, 0, 4095).astype(np.uint16)


def _pet(study: StudyHeader) -> Iterator[Slice]:
    yield from _pet_slices(study, pet_header(study), "pet", study.pet_ct.pet.values)


def _pet_slices(study: StudyHeader, shared: Dataset, name: str, suv: FloatArray) -> Iterator[Slice]:
    """suv: (nk, nj, ni) on the PET's grid."""
    grid = study.pet_ct.pet.grid
    per_unit = study.suv_factor * (PHILIPS_BQML_PER_COUNT if study.spec.maker is Maker.PHILIPS else 1.0)
    top = 32767 if study.spec.maker is Maker.GE else 65535
    highest = float(suv.max())
    for k in range(grid.shape[0]):
        ds = _placed(shared, study, name, (grid, k))
        ds.ImageIndex = ds.InstanceNumber
        set_bed(ds, study, k * grid.spacing[0])
        peak = float(suv[k].max()) if study.spec.maker is Maker.GE else highest
        # The slope is written with a few digits; what is stored must fit the slope as written.
        ds.RescaleSlope = decimal(peak / per_unit / top * (1 + 1e-6)) if peak > 0 else "1"
        stored = np.rint(suv[k].astype(np.float64) / per_unit / float(ds.RescaleSlope))
        yield ds, stored.astype(np.int32).astype(np.uint16 if top > 32767 else np.int16)


def _nac(study: StudyHeader) -> Iterator[Slice]:
    """The same PET as a scanner shows it without attenuation correction: pale within, bright at the skin and in the lungs."""
    shared = pet_header(study)
    shared.SeriesInstanceUID, shared.SeriesNumber, shared.SeriesDescription = study.uid("nac"), 6, "PET NAC"
    shared.CorrectedImage = [c for c in study.spec.style.corrected if c not in {"ATTN", "SCAT"}]
    shared.AttenuationCorrectionMethod, shared.ScatterCorrectionMethod = "NONE", "NONE"
    yield from _pet_slices(study, shared, "nac", study.pet_ct.pet.values * np.float32(0.3))


def _scout(study: StudyHeader) -> Iterator[Slice]:
    """The CT's localizer: one coronal projection."""
    ct = study.pet_ct.ct
    ds = ct_header(study)
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.SeriesDescription = study.uid("scout"), 1, "SCOUT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    del ds.RescaleType
    begun = study.spec.started - timedelta(minutes=4)
    set_times(ds, begun, begun)
    image = np.clip(np.rint(ct.values.mean(axis=1)[::-1]) + 1024, 0, 4095).astype(np.uint16)
    thick, _, across = ct.grid.spacing
    (ds.Rows, ds.Columns), ds.PixelSpacing = image.shape, [decimal(thick), decimal(across)]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    ds.ImagePositionPatient = [decimal(round(float(c), 4)) for c in ct.grid.to_world((ct.grid.shape[0] - 1, 0, 0))]
    ds.SOPInstanceUID, ds.InstanceNumber = study.uid("scout", "0"), 1
    yield ds, image


def _mip(study: StudyHeader) -> Iterator[Slice]:
    """The PET's maximum-intensity projections from the front and from the side."""
    pet = study.pet_ct.pet
    thick, down, across = pet.grid.spacing
    views = ((2, ["1", "0", "0", "0", "0", "-1"], across), (1, ["0", "1", "0", "0", "0", "-1"], down))
    for number, (axis, orientation, pixel) in enumerate(views, start=1):
        image = pet.values.max(axis=3 - axis)[::-1]
        ds = pet_header(study)
        ds.SeriesInstanceUID, ds.SeriesNumber, ds.SeriesDescription = study.uid("mip"), 7, "MIP"
        ds.ImageType, ds.SeriesType = ["DERIVED", "PRIMARY", "MIP"], ["WHOLE BODY", "REPROJECTION"]
        ds.ReprojectionMethod, ds.NumberOfSlices = "MAX PIXEL", len(views)
        ds.SOPInstanceUID, ds.InstanceNumber, ds.ImageIndex = study.uid("mip", str(number)), number, number
        set_bed(ds, study, 0.0)
        slope = float(image.max()) / study.suv_factor / 32767
        ds.RescaleSlope = decimal(slope * (1 + 1e-6))
        (ds.Rows, ds.Columns), ds.PixelSpacing = image.shape, [decimal(thick), decimal(pixel)]
        ds.ImageOrientationPatient = orientation
        ds.ImagePositionPatient = [decimal(round(float(c), 4)) for c in pet.grid.to_world((pet.grid.shape[0] - 1, 0, 0))]
        yield ds, np.rint(image / study.suv_factor / float(ds.RescaleSlope)).astype(np.int16)
